"""The bench harness: what it counts, and what it refuses to claim. No test looks at how fast anything is."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.bench import SAMPLES_FOR_P90, SAMPLES_FOR_P99, BenchRequest, run_bench, summarise, time_in_turns
from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.prediction import STAGES
from device_runtime.engine.litert import open_engine
from device_runtime.errors import CameraError
from device_runtime.machine import read_machine, throttling
from tests.support.tflite import brightness_model
from tests.support.video import write_video


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    spec = brightness_model(folder / "m.tflite")
    return run_bench(BenchRequest(folder / "m.tflite", spec, duration_s=0.5))


def test_a_report_has_every_stage_over_the_same_frames(report):
    assert tuple(report.stages) == STAGES
    assert {stats.count for stats in report.stages.values()} == {report.frames}
    assert all(len(samples) == min(report.frames, 5000) for samples in report.samples_ms.values())
    assert report.warmup_frames >= 10
    assert report.fps > 0
    assert report.first_inference_ms >= report.load_ms > 0
    assert report.peak_rss_bytes > 10_000_000


def test_stages_add_up_to_no_more_than_the_total(report):
    parts = np.sum([report.samples_ms[stage] for stage in STAGES if stage != "total"], axis=0)
    assert (np.array(report.samples_ms["total"]) >= parts - 0.01).all()


def test_a_report_survives_the_way_through_json(report):
    assert loads(BenchReport, dumps(report), "report") == report


def test_a_short_video_is_repeated_until_the_time_is_over(tmp_path):
    spec = brightness_model(tmp_path / "m.tflite")
    source = f"file:{write_video(tmp_path / 'clip.mp4', frames=3)}"
    report = run_bench(BenchRequest(tmp_path / "m.tflite", spec, source, duration_s=0.2))
    assert report.frames > 3
    assert report.source == source


def test_too_few_frames_are_an_error_and_not_a_result(tmp_path):
    spec = brightness_model(tmp_path / "m.tflite")
    with pytest.raises(CameraError, match="too few to measure") as caught:
        run_bench(BenchRequest(tmp_path / "m.tflite", spec, duration_s=-1.0))
    assert "--duration" in caught.value.hint


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=800))
def test_statistics_are_those_of_the_samples(values):
    stats = summarise(values)
    assert stats.count == len(values)
    assert stats.min <= stats.p50 <= stats.max
    assert stats.min - 1e-9 <= stats.mean * (1 + 1e-12)
    assert (stats.p90 is not None) == (len(values) >= SAMPLES_FOR_P90)
    assert (stats.p99 is not None) == (len(values) >= SAMPLES_FOR_P99)
    if stats.p90 is not None:
        assert stats.p50 <= stats.p90 <= stats.max


def test_known_percentiles_are_right():
    stats = summarise(np.arange(1001, dtype=float))
    assert (stats.mean, stats.p50, stats.p90, stats.p99, stats.min, stats.max) == (500, 500, 900, 990, 0, 1000)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, None, []),
        (0x0, 0x0, []),
        (0x50000, 0x50000, []),  # it happened before the run: sticky bits
        (0x0, 0x50000, ["under-voltage", "throttled"]),
        (0x50005, 0x50005, ["under-voltage", "throttled"]),
        (0x0, 0x80008, ["soft temperature limit"]),
    ],
)
def test_throttling_is_named_when_it_happened_during_the_run(before, after, expected):
    machine = read_machine()
    readings = [dataclasses.replace(machine, throttled=bits) for bits in (before, after)]
    assert throttling(*readings) == expected


def test_the_machine_tells_what_it_is():
    machine = read_machine()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.memory_bytes > 100_000_000


def test_models_are_timed_in_turns_and_each_at_least_once_a_round(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    engines = [open_engine(tmp_path / "m.tflite") for _ in range(2)]
    stats = time_in_turns(engines, rounds=3, slice_s=0.0)
    assert [each.count for each in stats] == [3, 3]
    assert all(0 < each.min <= each.p50 <= each.max for each in stats)
