"""Fixtures: the real environments of the ONNX and PyTorch backends, and models that their Pythons write."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from converters.environments.catalog import ENVIRONMENTS, environments_folder
from converters.environments.make import prepare
from converters.process import open_worker
from device_runtime.contract.events import silent

_SUPPORT = Path(__file__).parent


@functools.cache
def made(name):
    """Make an environment where this user's are."""
    # Some tests have a home of their own; nothing is made or downloaded again for each.
    os.environ["EDGEKIT_ENVIRONMENTS"] = str(environments_folder())
    os.environ.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    os.environ.setdefault("PYENV_ROOT", str(Path.home() / ".pyenv"))
    prepare(ENVIRONMENTS[name], lambda event: sys.stderr.write(f"{event}\n"))
    return ENVIRONMENTS[name]


@functools.cache
def _written_by(name, script, folder):
    folder.mkdir()
    done = subprocess.run(
        [made(name).python, "-I", _SUPPORT / script, folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def onnx_models(tmp_path_factory):
    """A folder of ONNX models, good and bad."""
    return _written_by("onnx", "make_onnx.py", tmp_path_factory.getbasetemp() / "onnx")


@pytest.fixture(scope="session")
def torch_models(tmp_path_factory):
    """A folder of PyTorch programs, good and bad, and ``torch_modules.py``, whose functions make the same modules."""
    return _written_by("torch", "make_torch.py", tmp_path_factory.getbasetemp() / "torch")


@pytest.fixture(scope="module")
def onnx_worker(tmp_path_factory):
    with open_worker(tmp_path_factory.mktemp("worker"), silent, made("onnx")) as opened:
        yield opened


@pytest.fixture(scope="module")
def torch_worker(tmp_path_factory):
    with open_worker(tmp_path_factory.mktemp("worker"), silent, made("torch")) as opened:
        yield opened
