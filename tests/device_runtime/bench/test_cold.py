"""Cold starts: processes of their own, timed by a clock that all share, and their errors."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from device_runtime.bench.cold import ColdStartCrashError, measure_cold_starts
from device_runtime.bench.first import FirstRequest
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import CameraError, EdgeError, ModelError
from tests.support.running import children_of
from tests.support.tflite import brightness_model, regressor_model

SERVICE = ServiceSpec(source="synthetic:pattern", workers=1)


@pytest.fixture
def what(tmp_path):
    return FirstRequest(str(tmp_path / "m.tflite"), brightness_model(tmp_path / "m.tflite"), SERVICE)


def script(code):
    return (sys.executable, "-c", code)


def test_each_start_is_a_new_process_that_predicts(what):
    began = time.monotonic()
    found = measure_cold_starts(what, 2)
    assert len(found) == 2
    assert all(value > 0 for value in found)
    assert sum(found) / 1e3 < time.monotonic() - began


def test_a_model_is_found_from_another_folder(what, monkeypatch):
    monkeypatch.chdir(Path(what.model).parent)
    assert measure_cold_starts(replace(what, model=Path(what.model).name))


def test_the_clock_runs_from_the_start_of_the_process_to_what_it_tells(what):
    code = "import time; at = time.monotonic_ns(); time.sleep(0.3); print('{\"at_ns\": %d}' % at)"
    began = time.monotonic()
    (found,) = measure_cold_starts(what, command=script(code))
    assert 0 < found / 1e3 <= time.monotonic() - began - 0.3


def test_an_error_of_the_process_is_the_harness_own(what):
    with pytest.raises(CameraError, match="no camera at /dev/video97"):
        measure_cold_starts(replace(what, service=ServiceSpec(source="v4l2:97")))


def test_a_model_that_fails_is_said_to(tmp_path):
    spec = regressor_model(tmp_path / "m.tflite", [float("nan")])
    with pytest.raises(ModelError):
        measure_cold_starts(FirstRequest(str(tmp_path / "m.tflite"), spec, SERVICE))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "ended by SIGABRT and without a prediction"),
        (
            "import sys; print('boom', file=sys.stderr); sys.exit(5)",
            "with exit code 5 and without a prediction\n  boom",
        ),
        ("print('hello')", "told no first prediction"),
    ],
)
def test_a_process_that_dies_or_talks_nonsense_is_an_error(what, code, message):
    with pytest.raises(ColdStartCrashError, match=message) as caught:
        measure_cold_starts(what, command=script(code))
    assert (caught.value.code, caught.value.exit_code) == ("bench-crashed", 1)


def test_a_reported_error_keeps_its_codes(what):
    told = '{"error": {"code": "on-fire", "message": "too hot", "hint": "wait", "exit_code": 6}}'
    with pytest.raises(EdgeError, match="too hot") as caught:
        measure_cold_starts(what, command=script(f"import sys; print({told!r}); sys.exit(6)"))
    assert (caught.value.code, caught.value.exit_code, caught.value.hint) == ("on-fire", 6, "wait")


def test_sinks_and_pages_are_no_part_of_it_and_nothing_is_left(what, tmp_path):
    before = sorted(path.name for path in tmp_path.iterdir())
    children = children_of(os.getpid())
    measure_cold_starts(what)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert set(children_of(os.getpid())) <= set(children)
