"""Whether a loop gets on, waits for its camera, or hangs: judged from outside while it runs."""

import contextlib
import threading

import pytest

from device_runtime.cameras.awaited import Awaited
from device_runtime.cameras.options import CameraOptions
from device_runtime.cameras.v4l2 import V4l2Camera
from device_runtime.contract.events import Notice
from device_runtime.contract.prediction import Prediction
from device_runtime.errors import CameraError, UsageError
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.raw import DamagedFrameError
from tests.support.v4l2_driver import FakeDriver
from tests.support.video import HangingCamera, ListSink, ScriptedCamera
from tests.support.waiting import wait_for

STALL_S = 0.2


class Looks:
    """A keeper that remembers what every look gave. ``beats`` counts those that found that the loop gets on."""

    def __init__(self):
        self.beats = 0
        self.stuck = []
        self.stopped = False
        self.delivered = []

    def look(self, progress):
        found = progress.look()
        self.delivered.append(progress.delivered)
        if found is None:
            self.beats += 1
        else:
            self.stuck.append(found)

    def stopping(self):
        self.stopped = True

    def more_beats(self, count=10):
        """Wait for so many more."""
        before = self.beats
        wait_for(lambda: self.beats >= before + count)

    def hangs(self, words, count=10):
        """Wait until so many looks in a row found the same, and none that it gets on."""

        def found():
            before = self.beats
            seen = len(self.stuck)
            wait_for(lambda: len(self.stuck) >= seen + count or self.beats > before)
            return self.beats == before and set(self.stuck[seen:]) == {words}

        wait_for(found)


def predict(frame):
    return Prediction(frame.index, frame.captured_ns, ())


def live(*script, pause=0.002):
    return ScriptedCamera([*script, *[(pause, 1)] * 1_000_000], live=True, name="cam")


@contextlib.contextmanager
def looping(camera, predict=predict, sinks=(), release=None, **more):
    """Run a loop in a thread of its own until the end of the context; ``release`` lets what hangs go on."""
    over = threading.Event()

    class Ends(Looks):
        def look(self, progress):
            super().look(progress)
            if over.is_set():
                raise KeyboardInterrupt

    looks, failures = Ends(), []
    setup = {"limits": Limits(stall_s=STALL_S), "telemetry": Telemetry(Identity("m", "e", "s")), "keeper": looks} | more

    def run():
        try:
            run_loop(camera, predict, list(sinks), LoopSetup(**setup))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    looks.telemetry, looks.failures, looks.thread = setup["telemetry"], failures, thread
    try:
        yield looks
    finally:
        over.set()
        if release is not None:
            release.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_loop_that_delivers_gets_on_and_its_end_is_told_first():
    with looping(live(), sinks=[ListSink()]) as looks:
        looks.more_beats()
        assert looks.delivered[-1] > 0
        assert not looks.stopped
    assert looks.stopped


@pytest.mark.parametrize("damaged", [False, True])
def test_a_loop_that_always_has_something_to_do_gets_on(damaged):
    def slow(frame):
        threading.Event().wait(0.005)
        if damaged:
            raise DamagedFrameError(f"frame {frame.index}")
        return predict(frame)

    with looping(ScriptedCamera([(0, 1)] * 1_000_000), slow, sinks=[ListSink()]) as looks:
        looks.more_beats(20)


def test_a_model_that_hangs_is_a_hang():
    release = threading.Event()

    def hanging(frame):
        if frame.index > 5:
            release.wait()
        return predict(frame)

    with looping(live(), hanging, release=release) as looks:
        looks.hangs("the model gives no answer")


def test_one_of_several_workers_that_hangs_is_a_hang():
    release, busy = threading.Event(), []

    def one_hangs(frame):
        busy.append(frame.index)
        if len(busy) == 20:
            release.wait()
        threading.Event().wait(0.005)
        return predict(frame)

    more = {"workers": 3, "another": lambda: one_hangs}
    with looping(live(), one_hangs, release=release, **more) as looks:
        looks.hangs("the model gives no answer")


def test_one_worker_that_hangs_while_another_waits_for_a_lost_camera_is_a_hang():
    release, hung, seen = threading.Event(), threading.Event(), set()

    class Lost(ScriptedCamera):
        def read(self):
            if hung.is_set():
                raise CameraError("unplugged")
            return super().read()

    def none():
        raise CameraError("none")

    def one_hangs(frame):
        seen.add(threading.get_ident())
        if len(seen) > 1 and not hung.is_set():
            hung.set()
            release.wait()
        threading.Event().wait(0.005)
        return predict(frame)

    more = {"workers": 2, "another": lambda: one_hangs, "capture": CaptureSetup(none, first_pause_s=0.01)}
    camera = Lost([(0.001, 1)] * 1_000_000, live=True)
    with looping(camera, one_hangs, release=release, **more) as looks:
        assert hung.wait(20)
        looks.hangs("the model gives no answer", count=20)


def test_a_model_that_hangs_while_the_camera_is_gone_is_a_hang():
    release, hung = threading.Event(), threading.Event()

    def hanging(frame):
        hung.set()
        release.wait()
        return predict(frame)

    def none():
        raise CameraError("none")

    camera = live((0, 1), (0, 1), (0, CameraError("unplugged")))
    with looping(camera, hanging, release=release, capture=CaptureSetup(none, first_pause_s=0.01)) as looks:
        assert hung.wait(20)
        looks.hangs("the model gives no answer")
        assert looks.telemetry.health()[1][0].startswith("camera: ")


@pytest.mark.parametrize("depth", [0, 4])
def test_a_vital_sink_that_hangs_is_a_hang(depth):
    release = threading.Event()
    with looping(live(), sinks=[ListSink(until=release, name="disk", depth=depth)], release=release) as looks:
        looks.hangs("disk takes no more")


def test_a_sink_that_is_not_vital_hangs_alone():
    release = threading.Event()
    with looping(live(), sinks=[ListSink(until=release, vital=False)], release=release) as looks:
        wait_for(lambda: looks.delivered and looks.delivered[-1] > 100)
        looks.more_beats()
        assert not [text for text in looks.stuck if text.startswith("list")]


def test_a_sink_without_a_thread_that_hangs_is_a_hang():
    release = threading.Event()
    with looping(live(), sinks=[ListSink(until=release, vital=False, depth=0)], release=release) as looks:
        looks.hangs("predictions are not delivered")


def test_a_delivery_that_hangs_while_the_camera_is_gone_is_a_hang():
    release = threading.Event()

    def none():
        raise CameraError("none")

    camera = live((0, 1), (0.05, CameraError("unplugged")))
    sinks = [ListSink(until=release, vital=False, depth=0)]
    with looping(camera, sinks=sinks, release=release, capture=CaptureSetup(none, first_pause_s=0.01)) as looks:
        looks.hangs("predictions are not delivered")


def test_frames_that_are_all_damaged_are_no_hang():
    def damaged(frame):
        raise DamagedFrameError(f"frame {frame.index}")

    with looping(live(), damaged) as looks:
        looks.more_beats(20)
    with looping(ScriptedCamera([(0.002, DamagedFrameError("half"))] * 100_000, live=True)) as looks:
        looks.more_beats(20)


def test_a_camera_that_is_gone_is_no_hang():
    def none():
        raise CameraError("no camera at /dev/video0")

    with looping(live((0, CameraError("unplugged"))), capture=CaptureSetup(none, first_pause_s=1000)) as looks:
        looks.more_beats(20)
        assert looks.telemetry.health()[0] == "failing"


def test_a_camera_that_hangs_again_and_again_is_no_hang_until_its_threads_are_too_many():
    release, cameras = threading.Event(), []

    def reopen():
        camera = HangingCamera()
        camera.release = release
        cameras.append(camera)
        return camera

    first = reopen()
    with looping(first, release=release, capture=CaptureSetup(reopen, first_pause_s=0.001)) as looks:
        wait_for(lambda: len(cameras) == 3)
        looks.more_beats(3)
        looks.hangs("the camera's threads hang", count=1)
        assert len(cameras) > 4
    wait_for(lambda: all(camera.closed.is_set() for camera in cameras[:-1]))


@pytest.mark.parametrize("hangs_in", ["open", "close"])
def test_a_driver_that_hangs_when_it_is_opened_or_closed_is_left_behind(hangs_in):
    release, again = threading.Event(), threading.Event()
    first, second = live((0, 1), (0, CameraError("unplugged"))), live()
    if hangs_in == "close":
        first.close = release.wait

    def reopen():
        if hangs_in == "open" and not again.is_set():
            again.set()
            release.wait()
            return first
        again.set()
        return second

    with looping(first, release=release, capture=CaptureSetup(reopen, None, 0.001, STALL_S)) as looks:
        wait_for(lambda: second.given > 10)
        looks.more_beats()
        assert looks.telemetry.status().camera == "ok"


def test_a_camera_that_was_never_there_is_waited_for_and_then_taken(tmp_path):
    device, notices = tmp_path / "video0", []
    driver = FakeDriver({"MJPG": {(64, 48): 30}})

    def reopen():
        return V4l2Camera(str(device), CameraOptions(), open_capture=driver)

    more = {"capture": CaptureSetup(reopen, first_pause_s=0.001), "events": notices.append}
    with looping(Awaited("v4l2:0"), **more) as looks:
        looks.more_beats()
        health, reasons = looks.telemetry.health()
        assert health == "failing"
        assert reasons[0].startswith(f"camera: no camera at {device}")
        assert looks.delivered[-1] == 0
        device.touch()
        wait_for(lambda: looks.delivered[-1] > 0)
        assert looks.telemetry.health()[0] == "ok"
    assert [notice.severity for notice in notices] == ["warning", "info"]
    assert notices[0].message.endswith("; waiting for it")
    assert notices[1] == Notice("v4l2:0 is there now")


def test_a_camera_that_is_there_is_opened_without_a_word():
    notices = []
    capture = CaptureSetup(live, first_pause_s=1000)
    with looping(Awaited("cam"), capture=capture, events=notices.append) as looks:
        wait_for(lambda: looks.delivered and looks.delivered[-1] > 0)
        assert looks.telemetry.status().reopened == 0
    assert notices == []


def test_what_can_never_be_opened_ends_the_run():
    def wrong():
        raise UsageError("no such format")

    with looping(Awaited("cam"), capture=CaptureSetup(wrong)) as looks:
        looks.thread.join(20)
    assert [type(error) for error in looks.failures] == [UsageError]


def test_a_camera_that_opens_after_it_was_given_up_is_let_go_of():
    release, late, asked = threading.Event(), live(), []

    def reopen():
        asked.append(1)
        if len(asked) == 1:
            release.wait()
            return late
        return live()

    with looping(Awaited("cam"), capture=CaptureSetup(reopen, None, 0.001, STALL_S), release=release) as looks:
        wait_for(lambda: looks.delivered and looks.delivered[-1] > 0)
        release.set()
        assert late.closed.wait(20)
        assert late.given == 0
