"""The bench harness: what it counts, and what it refuses to claim. No test looks at how fast anything is."""

import time

import cv2
import numpy as np
import pytest

from device_runtime.bench.run import BenchRequest, run_bench
from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.prediction import STAGES
from device_runtime.errors import CameraError, ModelError, UsageError
from tests.support.avi import write_avi
from tests.support.tflite import brightness_model, regressor_model, segmenter_model
from tests.support.video import write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def spec(folder):
    return brightness_model(folder / "m.tflite")


@pytest.fixture
def request_for(folder, spec):
    return lambda **changes: BenchRequest(folder / "m.tflite", spec, **({"duration_s": 0.2, "runs": 20} | changes))


@pytest.fixture(scope="module")
def report(folder, spec):
    return run_bench(BenchRequest(folder / "m.tflite", spec, duration_s=0.5, runs=700))


@pytest.fixture(scope="module")
def whole(folder, spec):
    """A run of everything that can be asked for."""
    return run_bench(
        BenchRequest(
            folder / "m.tflite",
            spec,
            duration_s=0.3,
            runs=80,
            camera_fps=50.0,
            operators=True,
            cold_starts=2,
            draw=True,
            delegate="none",
        )
    )


def test_a_report_has_every_stage_over_the_same_frames(report):
    assert tuple(report.stages) == STAGES
    assert {stats.count for stats in report.stages.values()} == {report.frames}
    assert all(len(samples) == min(report.frames, 5000) for samples in report.samples_ms.values())
    assert report.frames >= 700
    assert report.duration_s >= 0.5
    assert report.warmup_frames >= 10
    assert report.fps > 0
    assert report.first_inference_ms >= report.load_ms > 0
    assert report.harness_us > 0


def test_a_run_that_is_long_enough_has_all_percentiles_and_intervals(report):
    total = report.stages["total"]
    assert total.p50 <= total.p90 <= total.p95 <= total.p99 <= total.max
    assert total.p50_interval.low <= total.p50 <= total.p50_interval.high
    assert total.p99_interval.low <= total.p99 <= total.p99_interval.high
    assert not any("too few" in warning for warning in report.warnings)


def test_stages_add_up_to_no_more_than_the_total(report):
    parts = np.sum([report.samples_ms[stage] for stage in STAGES if stage != "total"], axis=0)
    assert (np.array(report.samples_ms["total"]) >= parts - 0.01).all()


def test_what_disturbed_is_said_among_the_warnings_and_the_machine_was_watched(report):
    assert set(report.disturbed) <= set(report.warnings)
    assert len(report.during) >= 2
    assert report.measured_from_s > 0
    assert report.during[-1].at_s >= report.measured_from_s + report.duration_s


def test_what_was_not_asked_for_is_not_there(report):
    assert (report.at_rate, report.cold_start, report.operators) == (None, None, None)


@pytest.mark.parametrize("name", ["report", "whole"])
def test_a_report_survives_the_way_through_json(name, request):
    report = request.getfixturevalue(name)
    assert loads(BenchReport, dumps(report), "report") == report


def test_drawing_is_a_stage_of_its_own_over_the_same_frames(whole):
    assert tuple(whole.stages) == (*STAGES, "draw")
    assert whole.stages["draw"].count == whole.frames
    assert whole.stages["draw"].min > 0


def test_cold_starts_take_longer_than_loading_the_model(whole):
    assert len(whole.cold_start.first_prediction_ms) == 2
    assert min(whole.cold_start.first_prediction_ms) > whole.load_ms / 10


def test_a_camera_of_a_rate_gives_no_more_frames_than_that(whole):
    rate = whole.at_rate
    assert rate.camera_fps == 50
    assert 0 < rate.fps < 60
    assert rate.latency.count == rate.frames >= 2
    assert rate.dropped >= 0


def test_operators_are_profiled_or_it_is_said_why_not(whole):
    told = [warning for warning in whole.warnings if warning.startswith("the operators were not profiled: ")]
    assert (whole.operators is None) == bool(told)


def test_the_delegate_is_the_one_that_was_asked_for(whole):
    assert whole.engine.delegate == "none"


def test_the_memory_of_a_model_is_told_apart_from_the_process(tmp_path, request_for):
    ids = np.zeros((1200, 1600), np.int32)
    spec = segmenter_model(tmp_path / "large.tflite", ids)
    run_bench(request_for())  # whatever all models need once
    small = run_bench(request_for())
    large = run_bench(BenchRequest(tmp_path / "large.tflite", spec, duration_s=0.1, runs=2))
    assert small.model_rss_bytes < ids.nbytes
    assert ids.nbytes <= large.model_rss_bytes < large.peak_rss_bytes
    assert large.model.size_bytes > ids.nbytes


def test_a_short_video_is_repeated_until_the_time_is_over(tmp_path, request_for):
    source = f"file:{write_video(tmp_path / 'clip.mp4', frames=3)}"
    report = run_bench(request_for(source=source))
    assert report.frames > 3
    assert report.source == source


def test_a_live_source_is_measured_at_its_own_rate_and_given_no_other(request_for):
    report = run_bench(request_for(source="synthetic:pattern?fps=100", runs=5))
    assert report.frames >= 5
    with pytest.raises(UsageError, match="is live, and has a rate of its own") as caught:
        run_bench(request_for(source="synthetic:pattern?fps=100", camera_fps=30.0))
    assert "--camera-fps" in caught.value.hint


def test_a_source_that_is_slower_than_its_camera_is_said_to_be(tmp_path, request_for):
    cv2.imwrite(str(tmp_path / "large.png"), np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8))
    report = run_bench(request_for(source=f"dir:{tmp_path}", runs=2, camera_fps=1000.0))
    assert any("and not 1000 as its camera" in warning for warning in report.warnings)


def test_too_few_frames_for_percentiles_are_said_once(request_for, tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8))
    report = run_bench(request_for(source=f"dir:{tmp_path}", runs=2, duration_s=0.01))
    assert report.frames < 64
    said = [warning for warning in report.warnings if "too few" in warning]
    assert said == [f"{report.frames} frames are too few for p90 and p95 and p99; measure longer: p99 takes 662 frames"]


def test_frames_that_are_damaged_are_left_out_and_counted(tmp_path, request_for):
    good = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
    broken = good[:200] + b"\xff\xd9"
    source = f"file:{write_avi(tmp_path / 'clip.avi', [good, good, broken, good], (64, 48))}"
    report = run_bench(request_for(source=source))
    assert any("could not be decoded" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration_s": 0.0}, "duration: expected a number of seconds above 0, got 0"),
        ({"duration_s": float("nan")}, "duration: expected"),
        ({"duration_s": float("inf")}, "duration: expected"),
        ({"runs": 1}, "runs: expected 2 or more, got 1"),
        ({"cold_starts": -1}, "cold starts: expected 0–100, got -1"),
        ({"cold_starts": 101}, "cold starts: expected 0–100, got 101"),
        ({"camera_fps": 0.0}, "camera fps: expected more than 0 and at most 1000, got 0"),
        ({"camera_fps": float("nan")}, "camera fps: expected"),
    ],
)
def test_what_cannot_be_measured_is_refused(request_for, changes, message):
    with pytest.raises(UsageError, match=message):
        request_for(**changes)


def test_a_stage_that_fails_ends_the_run_with_its_error(tmp_path):
    spec = regressor_model(tmp_path / "m.tflite", [float("nan")])
    with pytest.raises(ModelError):
        run_bench(BenchRequest(tmp_path / "m.tflite", spec, duration_s=0.1))


def test_a_source_without_frames_is_an_error_and_not_a_result(tmp_path, request_for):
    with pytest.raises(CameraError):
        run_bench(request_for(source=f"dir:{tmp_path}"))


def test_no_figure_is_taken_from_a_clock_that_steps(request_for, monkeypatch):
    def stepped():
        raise AssertionError("the time of day is no measure of a duration")

    monkeypatch.setattr(time, "time", stepped)
    monkeypatch.setattr(time, "time_ns", stepped)
    assert run_bench(request_for(camera_fps=100.0)).frames >= 20
