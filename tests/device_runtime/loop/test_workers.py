"""Several workers: every frame once, in order, and no more of them than are needed."""

import threading
import time

import numpy as np
import pytest

from device_runtime.contract.events import Notice
from device_runtime.contract.prediction import Prediction
from device_runtime.errors import EdgeError, ModelError
from device_runtime.loop.delivery import Delivery
from device_runtime.loop.handover import Handover
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.loop.status import Status
from device_runtime.loop.workers import Workers
from device_runtime.telemetry import Identity, Telemetry
from tests.support.video import ListSink, ScriptedCamera


def predict(frame):
    return Prediction(frame.index, frame.captured_ns, ())


def hesitant(seed):
    """Return a model whose answers take now long, now short."""
    pauses = np.random.default_rng(seed)

    def run(frame):
        time.sleep(pauses.random() * 0.004)
        return predict(frame)

    return run


class Crew:
    """Makes models, and knows how many."""

    def __init__(self, make=predict):
        self._make = make
        self.made = 0

    def __call__(self):
        self.made += 1
        return self._make


def indices(sink):
    return [prediction.frame_index for _, prediction in sink.taken]


def test_predictions_of_several_workers_come_in_the_order_of_their_frames():
    sink, seeds = ListSink(), iter(range(1, 10))
    looping = LoopSetup(workers=4, another=lambda: hesitant(next(seeds)))
    summary = run_loop(ScriptedCamera([(0, 1)] * 300), hesitant(0), [sink], looping)
    assert indices(sink) == list(range(300))
    assert (summary.frames, summary.dropped) == (300, 0)


def test_a_worker_that_is_slow_with_one_frame_holds_the_others_back_only_so_far():
    sink, release = ListSink(), threading.Event()
    others = threading.Event()

    def first(frame):
        if frame.index == 0:
            others.set()
            assert release.wait(10)
        return predict(frame)

    answered = []

    def other(frame):
        assert others.wait(10)
        answered.append(frame.index)
        if len(answered) == 5:
            release.set()
        return predict(frame)

    looping = LoopSetup(Limits(frames=40), workers=2, another=lambda: other)
    run_loop(ScriptedCamera([(0, 1)] * 40), first, [sink], looping)
    assert indices(sink) == list(range(40))
    assert len(answered) >= 5


def test_a_model_that_keeps_up_stays_alone():
    crew = Crew()
    looping = LoopSetup(workers=4, another=crew)
    run_loop(ScriptedCamera([(0.02, 1)] * 25, live=True), predict, [], looping)
    assert crew.made == 0


def test_workers_are_added_up_to_the_limit_while_frames_wait():
    def slow(frame):
        time.sleep(0.02)
        return predict(frame)

    crew = Crew(slow)
    looping = LoopSetup(Limits(duration_s=2.0), workers=3, another=crew)
    run_loop(ScriptedCamera([(0.001, 1)] * 100_000, live=True), slow, [], looping)
    assert crew.made == 2


def test_a_frame_that_is_dropped_now_and_then_starts_no_other_worker():
    frames = Handover(1, newest_wins=True)
    status = Status(Telemetry(Identity("m", "e", "s")), lambda _: None)
    workers = Workers(frames, Delivery([], None, status, live=True), status, live=True, frame_limit=None)
    crew, camera = Crew(), ScriptedCamera([(0, 1)] * 5)
    for _ in range(3):
        frames.put(camera.read())
        workers.grow(crew, 4)
    assert workers.count == 0
    frames.put(camera.read())
    workers.grow(crew, 4)
    assert workers.count == 1
    frames.close()
    workers.join()


def test_where_there_is_no_room_for_another_model_the_run_goes_on_with_what_it_has():
    def no_room():
        raise EdgeError("no memory for another model")

    notices, sink = [], ListSink()
    looping = LoopSetup(workers=3, another=no_room, events=notices.append)

    def slow(frame):
        time.sleep(0.005)
        return predict(frame)

    run_loop(ScriptedCamera([(0, 1)] * 100), slow, [sink], looping)
    assert indices(sink) == list(range(100))
    assert notices == [Notice("no further worker: no memory for another model", "warning")]


def test_a_worker_that_fails_ends_the_run_for_all():
    def failing(frame):
        time.sleep(0.002)
        if frame.index == 60:
            raise ModelError("NaN")
        return predict(frame)

    sink = ListSink()
    with pytest.raises(ModelError, match="NaN"):
        run_loop(ScriptedCamera([(0, 1)] * 100_000), failing, [sink], LoopSetup(workers=3, another=lambda: failing))
    assert indices(sink) == list(range(len(sink.taken)))
    assert sink.closed is True


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_limit_of_frames_is_exact_with_any_number_of_workers(workers):
    sink = ListSink()
    looping = LoopSetup(Limits(frames=37), workers=workers, another=lambda: hesitant(1))
    summary = run_loop(ScriptedCamera([(0, 1)] * 1000), hesitant(0), [sink], looping)
    assert summary.frames == 37
    assert indices(sink) == list(range(37))


def test_the_status_counts_workers():
    telemetry = Telemetry(Identity("m", "e", "s"))
    seen = []

    def slow(frame):
        seen.append(telemetry.status().workers)
        time.sleep(0.005)
        return predict(frame)

    looping = LoopSetup(workers=2, another=lambda: slow, telemetry=telemetry)
    run_loop(ScriptedCamera([(0, 1)] * 150), slow, [], looping)
    assert max(seen) == 2
    assert telemetry.status().workers == 0
