"""The camera loop: order, loss, overload and every way to fail."""

import itertools
import os
import signal
import threading
import time

import pytest

from device_runtime.contract.prediction import Prediction
from device_runtime.errors import CameraError, EdgeError, ModelError
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from tests.support.video import HangingCamera, ListSink, ScriptedCamera


def predict(frame):
    return Prediction(frame.index, frame.captured_ns, ())


def indices(sink):
    return [prediction.frame_index for _, prediction in sink.taken]


def test_every_frame_of_a_file_is_predicted_in_order():
    camera, sink = ScriptedCamera([(0, 1)] * 50), ListSink(pause_s=0.001)
    summary = run_loop(camera, predict, [sink])
    assert indices(sink) == list(range(50))
    assert (summary.frames, summary.dropped, summary.sink_dropped) == (50, 0, 0)
    assert camera.closed.is_set()
    assert sink.closed is False


def test_under_overload_the_newest_frame_wins_and_drops_are_counted():
    camera, sink = ScriptedCamera([(0.001, 1)] * 100, live=True), ListSink()

    def slow(frame):
        while camera.given < min(100, frame.index + 6):
            time.sleep(0.0005)
        return predict(frame)

    summary = run_loop(camera, slow, [sink])
    assert summary.frames <= 25
    assert summary.frames + summary.dropped == 100
    assert indices(sink) == sorted(indices(sink))
    assert indices(sink)[-1] == 99  # what came last was not dropped
    # Six more had come before the next one was taken, and it was the newest; the last may just not be there yet.
    steps = [later - earlier for earlier, later in itertools.pairwise(indices(sink))]
    assert min(steps[:-2]) >= 4


def test_a_slow_sink_of_a_live_camera_loses_predictions_and_not_time():
    last = threading.Event()
    camera, sink = ScriptedCamera([(0.001, 1)] * 60, live=True), ListSink(until=last)

    def tell(frame):
        if frame.index == 59:
            last.set()
        return predict(frame)

    summary = run_loop(camera, tell, [sink])
    assert len(sink.taken) + summary.sink_dropped == summary.frames
    assert len(sink.taken) <= 7  # one that was being taken, a full queue, and what came after the gate opened


@pytest.mark.parametrize("limits", [Limits(frames=5), Limits(duration_s=0.2)])
def test_a_limit_ends_an_endless_camera(limits):
    camera, sink = ScriptedCamera([(0.01, 1)] * 100_000, live=True), ListSink()
    summary = run_loop(camera, predict, [sink], LoopSetup(limits))
    assert 0 < summary.frames <= 100
    assert limits.frames is None or summary.frames == 5
    assert camera.closed.wait(1)


def test_what_the_camera_fails_with_ends_the_run_after_its_last_frame():
    camera, sink = ScriptedCamera([(0, 1), (0, 1), (0, CameraError("unplugged"))]), ListSink()
    with pytest.raises(CameraError, match="unplugged"):
        run_loop(camera, predict, [sink])
    assert indices(sink) == [0, 1]
    assert sink.closed is True
    assert camera.closed.is_set()


def test_what_the_model_fails_with_ends_the_run():
    camera, sink = ScriptedCamera([(0, 1)] * 10), ListSink()

    def failing(frame):
        if frame.index == 3:
            raise ModelError("NaN")
        return predict(frame)

    with pytest.raises(ModelError, match="NaN"):
        run_loop(camera, failing, [sink])
    assert indices(sink) == [0, 1, 2]
    assert sink.closed is True
    assert camera.closed.is_set()


def test_what_a_sink_fails_with_ends_the_run_and_closes_the_others():
    camera, good = ScriptedCamera([(0, 1)] * 100_000), ListSink()
    with pytest.raises(EdgeError, match="disk full"):
        run_loop(camera, predict, [good, ListSink(failure=EdgeError("disk full"))])
    assert good.closed is True
    assert camera.closed.wait(1)


def test_a_camera_that_hangs_is_given_up_after_the_deadline():
    camera, sink = HangingCamera(), ListSink()
    with pytest.raises(CameraError, match=r"hanging: no frame for 0.1 s"):
        run_loop(camera, predict, [sink], LoopSetup(Limits(stall_s=0.1)))
    camera.release.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_a_normal_end_with_everything_delivered(number):
    def stop(*_):
        raise KeyboardInterrupt

    camera, sink = ScriptedCamera([(0.005, 1)] * 100_000, live=True), ListSink()
    before = signal.signal(number, stop)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
    timer.start()
    try:
        summary = run_loop(camera, predict, [sink])
    finally:
        signal.signal(number, before)
        timer.join()
    assert summary.interrupted
    assert summary.frames == len(sink.taken) + summary.sink_dropped
    assert sink.closed is False
    assert camera.closed.wait(1)


def test_an_interruption_while_it_starts_is_a_normal_end_too():
    class Impatient(ScriptedCamera):
        """Interrupts with its first frame, while the loop still starts its threads."""

        def read(self):
            if not self.given:
                os.kill(os.getpid(), signal.SIGINT)
            return super().read()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in range(20):
            camera, sink = Impatient([(0.005, 1)] * 100_000, live=True), ListSink()
            assert run_loop(camera, predict, [sink]).interrupted
            assert sink.closed is False
            assert camera.closed.wait(1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_empty_source_is_no_error():
    assert run_loop(ScriptedCamera([]), predict, []).frames == 0


def test_runs_leave_no_thread_behind():
    before = threading.active_count()
    for _ in range(5):
        run_loop(ScriptedCamera([(0, 1)] * 5), predict, [ListSink()])
    assert threading.active_count() == before
