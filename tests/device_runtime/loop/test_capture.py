"""A camera that stops, hangs or gives rubbish: reported, and brought back."""

import threading

import pytest

from device_runtime.contract.events import Notice
from device_runtime.contract.prediction import Prediction
from device_runtime.errors import CameraError, ModelError
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.raw import DamagedFrameError
from tests.support.video import HangingCamera, ListSink, ScriptedCamera


def predict(frame):
    return Prediction(frame.index, frame.captured_ns, ())


class Shop:
    """Gives cameras one after the other; an exception in their place is raised."""

    def __init__(self, *cameras):
        self._cameras = list(cameras)
        self.asked = 0

    def __call__(self):
        self.asked += 1
        camera = self._cameras.pop(0)
        if isinstance(camera, BaseException):
            raise camera
        return camera


def setup(shop, notices, frames, stall_s=10.0):
    telemetry = Telemetry(Identity("m", "e", "s"))
    capture = CaptureSetup(reopen=shop, first_pause_s=0.001)
    return LoopSetup(Limits(frames, None, stall_s), capture=capture, telemetry=telemetry, events=notices.append)


def live(*script, name="cam"):
    return ScriptedCamera([*script, *[(0.001, 1)] * 100_000], live=True, name=name)


def test_a_live_camera_that_stops_is_reported_and_opened_again_as_often_as_it_takes():
    first = live((0, 1), (0.02, CameraError("cam: unplugged")))
    shop = Shop(CameraError("no camera at /dev/video0"), CameraError("still none"), live())
    notices, sink = [], ListSink()
    looping = setup(shop, notices, 20)
    summary = run_loop(first, predict, [sink], looping)
    assert summary.frames == 20
    assert shop.asked == 3
    assert first.closed.is_set()
    assert notices == [
        Notice("cam: unplugged; opening it again", "warning"),
        Notice("cam gives frames again"),
    ]
    status = looping.telemetry.status()
    assert (status.camera, status.reopened) == ("ok", 1)


def test_while_a_camera_is_lost_the_status_says_why():
    first = live((0, 1), (0, CameraError("cam: unplugged")))
    reopening, go_on = threading.Event(), threading.Event()

    def shop():
        reopening.set()
        assert go_on.wait(10)
        return live()

    looping = setup(shop, [], 5)
    running = threading.Thread(target=run_loop, args=(first, predict, [], looping))
    running.start()
    assert reopening.wait(10)
    status = looping.telemetry.status()
    assert (status.camera, status.health) == ("lost", "failing")
    assert status.reasons == ("camera: cam: unplugged",)
    go_on.set()
    running.join(10)
    assert not running.is_alive()


def test_a_camera_that_hangs_is_given_up_and_opened_again():
    hanging, again = HangingCamera(), live()
    notices, sink = [], ListSink()
    looping = setup(Shop(again), notices, 10, stall_s=0.1)
    summary = run_loop(hanging, predict, [sink], looping)
    assert summary.frames == 10
    assert notices[0] == Notice("hanging: no frame for 0.1 s; opening it again", "warning")
    # What the old one gives after all is not used, and it is let go of.
    hanging.release.set()
    assert hanging.closed.wait(10)


class LateCamera(HangingCamera):
    """A camera that hangs, and gives frames again when nobody expects any."""

    def read(self):
        if self._index:
            self.release.wait()
            self._script = iter([(0.001, 200)])
        return ScriptedCamera.read(self) if self._index else super().read()


def test_what_a_camera_that_was_given_up_gives_later_is_not_used():
    late, levels = LateCamera(), []

    def look(frame):
        levels.append(int(frame.pixels[0, 0, 0]))
        if len(levels) == 5:
            late.release.set()
        if len(levels) == 10:
            assert late.closed.wait(10)
        return predict(frame)

    summary = run_loop(late, look, [], setup(Shop(live()), [], 60, stall_s=0.1))
    assert summary.frames == 60
    assert set(levels) == {1}


def test_a_file_that_fails_is_not_opened_again():
    shop = Shop(live())
    with pytest.raises(CameraError, match="damaged"):
        run_loop(ScriptedCamera([(0, CameraError("damaged"))]), predict, [], setup(shop, [], 5))
    assert shop.asked == 0


def test_damaged_frames_of_a_live_camera_are_counted_and_passed_over():
    camera = live((0, DamagedFrameError("half a picture")), (0, DamagedFrameError("half a picture")))
    looping = setup(Shop(), [], 5)
    assert run_loop(camera, predict, [], looping).frames == 5
    assert looping.telemetry.status().frames["damaged"] == 2


def test_frames_that_turn_out_damaged_when_they_are_taken_are_counted_and_keep_the_order():
    def picky(frame):
        if frame.index % 3 == 1:
            raise DamagedFrameError("half a picture")
        return predict(frame)

    sink = ListSink()
    looping = setup(Shop(), [], 30)
    looping = LoopSetup(looping.limits, 3, lambda: picky, None, looping.capture, looping.telemetry)
    run_loop(live(), picky, [sink], looping)
    indices = [prediction.frame_index for _, prediction in sink.taken]
    assert indices == sorted(indices)
    assert not any(index % 3 == 1 for index in indices)
    assert looping.telemetry.status().frames["damaged"] > 0


def test_damaged_frames_of_a_file_are_left_out_counted_and_told_once():
    def damaged(frame):
        if frame.index in (2, 5):
            raise DamagedFrameError(f"clip.avi: frame {frame.index}: half a picture")
        return predict(frame)

    notices, sink = [], ListSink()
    summary = run_loop(ScriptedCamera([(0, 1)] * 8), damaged, [sink], LoopSetup(events=notices.append))
    assert [prediction.frame_index for _, prediction in sink.taken] == [0, 1, 3, 4, 6, 7]
    assert (summary.frames, summary.damaged) == (6, 2)
    assert notices == [
        Notice("clip.avi: frame 2: half a picture; it is left out, and further ones are only counted", "warning")
    ]


def test_an_end_while_a_camera_is_being_opened_does_not_wait_for_it():
    first = live((0, 1), (0, CameraError("unplugged")))
    shop = Shop(*[CameraError("none")] * 1000)
    looping = LoopSetup(Limits(None, 0.3), capture=CaptureSetup(reopen=shop, first_pause_s=1000))
    assert run_loop(first, predict, [], looping).frames == 1


def test_what_the_model_fails_with_is_no_business_of_the_camera():
    def failing(frame):
        raise ModelError(f"frame {frame.index}")

    shop = Shop(live())
    with pytest.raises(ModelError):
        run_loop(live(), failing, [], setup(shop, [], 5))
    assert shop.asked == 0
