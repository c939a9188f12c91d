# make demo, make test: everything is set up in .venv from a package index; no root is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := out/demo
PEERS := .venv-peers
# uv is four times as fast where it is there; pip is everywhere.
PIP := $(if $(shell command -v uv),uv pip install --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check)
INSTALLED := $(VENV)/.installed
# One more than there are cores: tests also wait, for processes, servers and clocks.
JOBS = $(shell $(PYTHON) -c 'import os; print(min(4, len(os.sched_getaffinity(0)) + 1))')

.PHONY: help demo test test-soak test-backends test-board test-flash test-faults bench-loop bench-peers bench-arm64 check lint types imports format lock clean

help:
	@echo "make demo      run the main job end to end on this machine (under 3 minutes after the first set-up)"
	@echo "make test      run the tests"
	@echo "make test-soak      run an application under overload for ten minutes: nothing may grow"
	@echo "make test-backends  convert ONNX and PyTorch models, in environments that are made for it (2.5 GB, network)"
	@echo "make test-board     deploy to a virtual arm64 board (root, network once; see docs/explain/virtual-board.md)"
	@echo "make test-flash     boot flashed cards in a virtual arm64 machine (root, network once; see docs/explain/virtual-machine.md)"
	@echo "make test-faults    every cut, thousands of random faults (half an hour; power cuts and full disks need root)"
	@echo "make bench-loop     the camera loop beside naive loops and what of its peers is installed (about 10 minutes)"
	@echo "make bench-peers    install its peers in .venv-peers (1.5 GB, network)"
	@echo "make bench-arm64    count the loop's instructions on an emulated arm64 machine (mmdebstrap, qemu-system-arm)"
	@echo "make check     lint, types and import rules"
	@echo "make format    format the code"
	@echo "make lock      pin the newest versions that fit pyproject.toml (needs uv)"
	@echo "make clean     remove what the other targets made"

$(INSTALLED): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgekit needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --quiet --no-deps --require-hashes -r requirements/dev.txt
	$(PIP) --quiet --no-deps --editable .
	touch $(INSTALLED)

demo: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" sh samples/demo.sh $(DEMO)

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

test-soak: $(INSTALLED)
	EDGEKIT_SOAK_S=600 $(BIN)/python -m pytest tests/device_runtime/test_soak.py

test-backends: $(INSTALLED)
	$(BIN)/python -m pytest -m environments

test-board: $(INSTALLED)
	$(BIN)/python -m pytest -m board

# A file's tests stay in one process, where they go on from each other's machine; most of a boot uses one core.
test-flash: $(INSTALLED)
	$(BIN)/python -m pytest -m machine --numprocesses 2 --dist loadfile

test-faults: $(INSTALLED)
	$(BIN)/python -m pytest -m faults

bench-loop: $(INSTALLED)
	$(BIN)/python benchmarks/loop.py

bench-arm64: $(INSTALLED)
	$(BIN)/python benchmarks/arm64_counts.py

# Without dependencies: each peer asks for another build of OpenCV, and all of them are the same module.
bench-peers: $(PEERS)/.installed

$(PEERS)/.installed: requirements/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r requirements/peers.txt
	touch $@

check: lint types imports

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --upgrade \
	-c requirements/constraints.in --override requirements/overrides.in

# One version of each package for all Pythons: what is tested with one is what the others get.
UV_ISOLATED := uv pip compile --universal --fork-strategy fewest --generate-hashes --no-header --no-annotate --quiet --upgrade \
	--override requirements/isolated-overrides.in

lock:
	$(UV_COMPILE) pyproject.toml --all-extras requirements/dev.in -o requirements/dev.txt
	$(UV_COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/run.txt
	$(UV_ISOLATED) --python-version 3.12 requirements/onnx.in -o converters/environments/onnx.txt
	$(UV_ISOLATED) --python-version 3.11 requirements/torch.in -o converters/environments/torch.txt \
		--index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match
	$(UV_COMPILE) requirements/board-litert.in -c requirements/dev.txt -o edgekit/bundling/locks/litert.txt
	$(UV_COMPILE) requirements/board-tflite-runtime.in -c requirements/dev.txt -o edgekit/bundling/locks/tflite-runtime.txt

clean:
	rm -rf $(VENV) $(PEERS) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
