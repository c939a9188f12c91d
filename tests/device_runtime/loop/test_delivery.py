"""Sinks that are slow, dead or wrong: counted, reported, and nobody else's business."""

import os
import signal
import threading
import time

import pytest

from device_runtime.contract.events import Notice
from device_runtime.contract.prediction import Item, Prediction, RuleEvent
from device_runtime.errors import EdgeError
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.telemetry import Identity, Telemetry
from tests.support.video import ListSink, ScriptedCamera


def predict(frame):
    return Prediction(frame.index, frame.captured_ns, ())


def indices(sink):
    return [prediction.frame_index for _, prediction in sink.taken]


class MoodySink(ListSink):
    """Fails while it is told to."""

    def __init__(self, bad, **options):
        super().__init__(**options)
        self._bad = bad

    def take(self, frame, prediction):
        if prediction.frame_index in self._bad:
            raise EdgeError("no space left on the disk")
        super().take(frame, prediction)


def looping(**options):
    telemetry = Telemetry(Identity("m", "e", "s"))
    return LoopSetup(telemetry=telemetry, **options), telemetry


def test_a_sink_that_is_not_vital_fails_and_recovers_without_ending_the_run():
    notices, sink = [], MoodySink(range(3, 6), name="snapshots", vital=False, depth=100)
    setup, telemetry = looping(events=notices.append)
    run_loop(ScriptedCamera([(0, 1)] * 10), predict, [sink], setup)
    assert indices(sink) == [0, 1, 2, 6, 7, 8, 9]
    assert notices == [
        Notice("snapshots: no space left on the disk", "warning"),
        Notice("snapshots works again"),
    ]
    status = telemetry.status().sinks["snapshots"]
    assert (status.taken, status.failed, status.error) == (7, 3, None)


def test_a_mistake_in_a_sink_that_is_not_vital_is_named_and_does_not_end_the_run():
    sink, good = ListSink(failure=KeyError("nothing"), vital=False, name="odd"), ListSink(name="good")
    setup, telemetry = looping()
    assert run_loop(ScriptedCamera([(0, 1)] * 5), predict, [sink, good], setup).frames == 5
    assert indices(good) == list(range(5))
    assert telemetry.status().sinks["odd"].error == "KeyError: 'nothing'"


def test_a_sink_that_hangs_costs_the_others_nothing_and_the_end_a_moment():
    gate = threading.Event()
    hanging, good = ListSink(until=gate, vital=False, name="dead", depth=2), ListSink(name="good")
    setup, telemetry = looping()
    summary = run_loop(ScriptedCamera([(0, 1)] * 200), predict, [hanging, good], setup)
    assert indices(good) == list(range(200))
    status = telemetry.status().sinks["dead"]
    assert status.taken == 0
    assert status.dropped == summary.sink_dropped == 200 - 1 - 2
    assert hanging.closed is False
    gate.set()


def test_a_sink_without_a_queue_is_called_for_every_prediction():
    page = ListSink(name="page", vital=False, depth=0)
    run_loop(ScriptedCamera([(0.001, 1)] * 50, live=True), predict, [page])
    assert indices(page) == sorted(set(indices(page)))
    assert len(indices(page)) > 0


class Refining:
    """Marks what it sees, and has one more thing to say at the end."""

    def __init__(self, failure=None):
        self.seen = []
        self._failure = failure

    def apply(self, frame, prediction):
        if self._failure is not None:
            raise self._failure
        self.seen.append(frame.index)
        return Prediction(prediction.frame_index, prediction.captured_ns, (), {"refined": 1.0})

    def finish(self):
        event = RuleEvent("1", "door", "end", "2026-01-01T00:00:00Z", self.seen[-1], Item(0, "person"))
        return Prediction(self.seen[-1], 0, (), events=(event,))


def test_what_refines_predictions_sees_them_in_order_and_has_the_last_word():
    refine, sink, of_events = Refining(), ListSink(), ListSink(name="events", events_only=True)
    setup, telemetry = looping(workers=3, another=lambda: predict, refine=refine)
    summary = run_loop(ScriptedCamera([(0, 1)] * 60), predict, [sink, of_events], setup)
    assert refine.seen == list(range(60))
    assert all(prediction.timings_ms == {"refined": 1.0} for _, prediction in sink.taken[:-1])
    assert len(sink.taken) == 61
    assert [prediction.events[0].phase for _, prediction in of_events.taken] == ["end"]
    assert summary.frames == telemetry.status().frames["predicted"] == 60


def test_what_refining_fails_with_ends_the_run():
    refine = Refining(EdgeError("rule of a frame"))
    with pytest.raises(EdgeError, match="rule of a frame"):
        run_loop(ScriptedCamera([(0.001, 1)] * 100_000, live=True), predict, [], LoopSetup(refine=refine))


def test_a_sink_that_cannot_be_closed_is_an_error_only_where_it_is_vital():
    class Unfinished(ListSink):
        def close(self, *, failed):
            super().close(failed=failed)
            raise EdgeError("cannot finish the file")

    lenient = Unfinished(vital=False, name="clips")
    assert run_loop(ScriptedCamera([(0, 1)] * 3), predict, [lenient]).frames == 3
    with pytest.raises(EdgeError, match="cannot finish the file"):
        run_loop(ScriptedCamera([(0, 1)] * 3), predict, [Unfinished()])


def test_an_interruption_does_not_wait_for_a_vital_sink_that_hangs():
    def stop(*_):
        raise KeyboardInterrupt

    gate = threading.Event()
    sink = ListSink(until=gate)
    before = signal.signal(signal.SIGTERM, stop)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        summary = run_loop(ScriptedCamera([(0.005, 1)] * 100_000, live=True), predict, [sink])
    finally:
        signal.signal(signal.SIGTERM, before)
        timer.join()
        gate.set()
    assert summary.interrupted


def test_the_count_of_everything_adds_up_under_overload():
    setup, telemetry = looping()

    def slow(frame):
        time.sleep(0.004)
        return predict(frame)

    summary = run_loop(ScriptedCamera([(0.001, 1)] * 200, live=True), slow, [ListSink(pause_s=0.01)], setup)
    status = telemetry.status()
    assert status.frames["predicted"] == summary.frames
    assert status.frames["dropped"] == summary.dropped
    assert summary.frames + summary.dropped == 200
    assert status.sinks["list"].taken + status.sinks["list"].dropped == summary.frames


def test_frames_of_a_file_wait_for_a_vital_sink_and_are_not_lost():
    sink = ListSink(pause_s=0.002)
    assert run_loop(ScriptedCamera([(0, 1)] * 60), predict, [sink], LoopSetup(Limits())).sink_dropped == 0
    assert indices(sink) == list(range(60))
