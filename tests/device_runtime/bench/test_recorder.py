"""When frames count, when there are enough of them, and what ends a run that gets nowhere."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.bench.cost import measure_harness_us
from device_runtime.bench.recorder import (
    WARMUP_FRAMES,
    WARMUP_MOST_S,
    WARMUP_S,
    BriefWarmUp,
    Goal,
    Recorder,
    Supply,
    WarmUp,
    Watchman,
)
from device_runtime.contract.prediction import STAGES, Prediction
from device_runtime.errors import CameraError
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.vision.raw import DamagedFrameError
from tests.support.video import HangingCamera, ScriptedCamera


def warmed_up(latencies_ms, period_s):
    """Feed a warm-up until it is over; return it, and the time at which it was."""
    warm_up = WarmUp()
    for index, latency in enumerate(latencies_ms):
        warm_up.add(100.0 + index * period_s, latency)
        if warm_up.over:
            return warm_up, index * period_s
    raise AssertionError("the warm-up never ended")


@given(st.floats(0.001, 5.0), st.floats(0.01, 1000.0))
def test_latencies_that_are_settled_end_the_warm_up_as_soon_as_it_may(period_s, latency_ms):
    warm_up, took_s = warmed_up(itertools.repeat(latency_ms), period_s)
    assert warm_up.steady
    assert warm_up.frames >= WARMUP_FRAMES
    assert took_s >= WARMUP_S or warm_up.frames * period_s >= WARMUP_S
    assert took_s <= max(WARMUP_S, WARMUP_FRAMES * period_s) + 3 * period_s


@given(st.floats(0.001, 5.0))
def test_latencies_that_fall_for_ever_end_it_after_its_longest_time_as_not_steady(period_s):
    warm_up, took_s = warmed_up((100.0 * 0.7 ** (index * period_s / 0.5) for index in range(100_000)), period_s)
    assert not warm_up.steady
    assert WARMUP_MOST_S <= took_s <= max(WARMUP_MOST_S, WARMUP_FRAMES * period_s) + period_s


@given(st.lists(st.floats(0.01, 1000.0), min_size=1, max_size=30), st.floats(0.01, 5.0))
def test_a_warm_up_is_never_over_too_early_and_always_in_the_end(latencies_ms, period_s):
    warm_up, took_s = warmed_up(itertools.cycle(latencies_ms), period_s)
    assert warm_up.frames >= WARMUP_FRAMES
    assert took_s <= max(WARMUP_MOST_S, WARMUP_FRAMES * period_s) + period_s


def test_one_slow_frame_does_not_unsettle():
    latencies = [10.0] * 100
    latencies[7] = 900.0
    assert warmed_up(latencies, 0.05)[0].steady


def answer(frame):
    timings = dict.fromkeys(STAGES, 1.0)
    return lambda: Prediction(frame.index, frame.captured_ns, (), timings)


def run(camera, recorder, stall_s=10.0):
    """Run the loop as the harness does."""
    looping = LoopSetup(Limits(stall_s=stall_s), keeper=Watchman(camera.name, stall_s))
    return run_loop(Supply(camera, recorder, stall_s / 2), recorder.infer, [], looping)


def test_a_recorder_counts_until_there_is_enough_and_its_supply_ends_then():
    recorder = Recorder(answer, Goal(30, 0.0), BriefWarmUp(over=True))
    camera = ScriptedCamera([(0, 1)] * 10_000)
    summary = run(camera, recorder)
    assert recorder.enough.is_set()
    assert recorder.frames == 30
    assert {len(values) for values in recorder.samples().values()} == {30}
    assert 30 <= summary.frames <= 40
    assert camera.closed.is_set()


def test_a_goal_in_seconds_is_reached_also_when_there_are_frames_enough():
    recorder = Recorder(answer, Goal(2, 0.2), BriefWarmUp(over=True))
    camera = ScriptedCamera([(0.002, 1)] * 10_000)
    run(camera, recorder)
    assert recorder.seconds >= 0.2
    assert recorder.fps == pytest.approx((recorder.frames - 1) / recorder.seconds)


def test_frames_that_were_skipped_are_told_from_their_numbers():
    recorder = Recorder(answer, Goal(3, 0.0), BriefWarmUp(over=True))
    frames = [ScriptedCamera([(0, 1)]).read() for _ in range(3)]
    for frame, index in zip(frames, (4, 5, 9), strict=True):
        object.__setattr__(frame, "index", index)
        recorder.infer(frame)()
    assert (recorder.frames, recorder.skipped) == (3, 3)


def test_a_camera_that_stalls_ends_the_run():
    recorder = Recorder(answer, Goal(30, 0.0), WarmUp())
    camera = HangingCamera()
    with pytest.raises(CameraError, match="no frame for"):
        run(camera, recorder, 0.3)
    camera.release.set()


@pytest.mark.parametrize("live", [False, True])
def test_a_camera_whose_frames_all_are_damaged_ends_the_run(live):
    recorder = Recorder(answer, Goal(30, 0.0), WarmUp())
    broken = DamagedFrameError("scripted: frame 1: no JPEG")
    camera = ScriptedCamera([(0, 1), *[(0.005, broken)] * 100_000], live=live)
    with pytest.raises(CameraError, match="no frame that can be decoded for"):
        run(camera, recorder, 0.3)


def test_a_model_that_is_slow_is_waited_for():
    slow = iter([1.0])

    def infer(frame):
        time.sleep(next(slow, 0.0))
        return answer(frame)

    recorder = Recorder(infer, Goal(5, 0.0), BriefWarmUp(over=True))
    camera = ScriptedCamera([(0, 1)] * 10_000)
    run(camera, recorder, 0.3)
    assert recorder.frames == 5


def test_what_measuring_costs_is_measured():
    assert measure_harness_us() > 0
