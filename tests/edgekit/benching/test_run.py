"""The harness in a process of its own: its report, its errors, and its end."""

import dataclasses
import math
import os
import subprocess
import sys

import pytest

from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Progress, Step
from device_runtime.contract.prediction import STAGES
from device_runtime.errors import CameraError, EdgeError, ModelError, UnfitError, UsageError
from edgekit.benching.run import BenchCall, BenchCrashError, measure
from tests.support.bench_reports import bench_report
from tests.support.tflite import brightness_model


@pytest.fixture
def model(tmp_path):
    brightness_model(tmp_path / "brightness.tflite")
    return tmp_path / "brightness.tflite"


def call(model, **changes):
    return BenchCall(**({"model": model, "spec": model.with_suffix(".json"), "duration_s": 0.2} | changes))


REPORTS = f"print({dumps(bench_report(frames=2))!r})"


def script(code):
    """A runtime that does something else; the bench arguments follow in ``sys.argv``."""
    return (sys.executable, "-c", code)


def test_a_run_brings_the_harness_own_report_back(model):
    events = []
    report = measure(call(model, threads=2), events.append)
    assert report.model.name == "brightness"
    assert report.engine.threads == 2
    assert set(report.stages) == set(STAGES)
    assert report.stages["invoke"].count == report.frames == len(report.samples_ms["invoke"])
    assert [event.title for event in events if isinstance(event, Step)] == [
        "measure brightness.tflite on synthetic:pattern for 0.2 s"
    ]
    assert any(isinstance(event, Progress) for event in events)


def test_all_that_can_be_measured_can_be_asked_for(model):
    report = measure(call(model, runs=40, camera_fps=50.0, operators=True, cold_starts=1, draw=True, delegate="none"))
    assert report.frames >= 40
    assert report.at_rate.camera_fps == 50
    assert len(report.cold_start.first_prediction_ms) == 1
    assert report.stages["draw"].count == report.frames
    assert report.engine.delegate == "none"


def test_what_the_harness_refuses_is_refused_here(model):
    with pytest.raises(UsageError, match="runs: expected 2 or more, got 1"):
        measure(call(model, runs=1))


def test_progress_is_by_the_clock_and_ends_at_what_was_expected(model):
    events = []
    asked = call(model, duration_s=0.2, cold_starts=1)
    measure(asked, events.append, script("import time; time.sleep(1.2); " + REPORTS))
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in told] == sorted(event.done for event in told)
    assert {event.total for event in told} == {math.ceil(asked.expected_s)}
    assert told[-1].done >= 1


def test_more_to_measure_is_expected_to_take_longer(model):
    plain = call(model)
    more = [{"duration_s": 9.0}, {"camera_fps": 5.0}, {"cold_starts": 3}, {"operators": True}]
    assert all(call(model, **changes).expected_s > plain.expected_s for changes in more)


def test_options_are_words_for_the_runtime_and_name_no_file_of_this_machine(model):
    words = call(model, runs=7, draw=True).options()
    assert words[words.index("--runs") + 1] == "7"
    assert "--draw" in words
    assert "--operators" not in words
    assert not any(str(model.parent) in word for word in words)


def test_peak_memory_is_not_that_of_the_process_that_asks(model, tmp_path):
    (tmp_path / "heavy.py").write_text(
        "import sys; from pathlib import Path\n"
        "from edgekit.benching.run import BenchCall, measure\n"
        "ballast = b'1' * 500_000_000\n"
        f"model = Path({str(model)!r})\n"
        "print(measure(BenchCall(model, model.with_suffix('.json'), duration_s=0.2)).peak_rss_bytes)\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "heavy.py"], capture_output=True, text=True, check=True)
    assert 10_000_000 < int(done.stdout) < 400_000_000


def test_modules_in_the_current_folder_are_not_imported(model, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert measure(call(model)).frames > 0


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"source": "camera:97"}, CameraError, "no camera at /dev/video97"),
        ({"source": "nowhere"}, UsageError, "source: expected"),
        ({"engine": "onnx"}, UsageError, "engine: expected auto"),
    ],
)
def test_an_error_of_the_harness_is_raised_here_as_the_same(model, changes, kind, message):
    with pytest.raises(kind, match=message) as caught:
        measure(call(model, **changes))
    assert (type(caught.value), caught.value.code, caught.value.exit_code) == (kind, kind.code, kind.exit_code)


def test_a_hint_comes_through(model):
    with pytest.raises(CameraError) as caught:
        measure(call(model, source="camera:97"))
    assert "--source synthetic:belt" in caught.value.hint


def test_a_model_that_does_not_load_is_a_bad_model(model):
    model.write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    with pytest.raises(ModelError, match=r"brightness\.tflite") as caught:
        measure(call(model))
    assert caught.value.exit_code == 3


def test_an_error_that_only_the_other_side_knows_keeps_its_code(model):
    told = '{"error": {"code": "on-fire", "message": "too hot", "hint": "wait", "exit_code": 6}}'
    with pytest.raises(EdgeError, match="too hot") as caught:
        measure(call(model), runtime=script(f"import sys; print({told!r}); sys.exit(6)"))
    assert (caught.value.code, caught.value.exit_code, caught.value.hint) == ("on-fire", 6, "wait")
    assert (EdgeError.code, EdgeError.exit_code) == ("failed", 1)


def test_the_class_is_found_among_all_kinds_of_errors(model):
    told = '{"error": {"code": "unfit", "message": "no engine", "hint": "", "exit_code": 6}}'
    with pytest.raises(UnfitError):
        measure(call(model), runtime=script(f"import sys; print({told!r}); sys.exit(6)"))


def test_a_crash_tells_the_signal_and_the_last_lines(model):
    code = "import os, sys; print('boom', file=sys.stderr, flush=True); os.abort()"
    with pytest.raises(BenchCrashError, match=r"ended by SIGABRT and without a report\n  boom") as caught:
        measure(call(model), runtime=script(code))
    assert caught.value.exit_code == 1
    assert caught.value.hint == "edgekit doctor"


def test_an_exit_without_a_word_tells_its_code(model):
    with pytest.raises(BenchCrashError, match="with exit code 5"):
        measure(call(model), runtime=script("raise SystemExit(5)"))


@pytest.mark.parametrize("answer", ["", "hello", "[]", '{"schema": 1}'])
def test_an_answer_that_is_no_report_is_an_error(model, answer):
    with pytest.raises(BenchCrashError, match="no report"):
        measure(call(model), runtime=script(f"print({answer!r})"))


def test_a_report_without_one_of_the_stages_is_an_error(model):
    whole = bench_report(frames=2)
    part = dataclasses.replace(whole, stages={"invoke": whole.stages["invoke"]})
    with pytest.raises(BenchCrashError, match="no report of stage capture"):
        measure(call(model), runtime=script(f"print({dumps(part)!r})"))


def test_being_stopped_leaves_no_process_behind(model, tmp_path):
    pid = tmp_path / "pid"
    stubborn = (
        f"import os, pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(1000)"
    )

    def stop(event):
        if isinstance(event, Progress) and pid.exists() and pid.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(call(model), stop, script(stubborn))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_duration_that_is_none_is_refused(model, seconds):
    with pytest.raises(UsageError, match="duration"):
        call(model, duration_s=seconds)
