"""V4L2 cameras: which mode is chosen, what is handed over, and what happens when they stop."""

import os
import time

import numpy as np
import pytest

from device_runtime.cameras.options import CameraOptions
from device_runtime.cameras.sources import open_camera
from device_runtime.cameras.v4l2 import V4l2Camera
from device_runtime.contract.model import Colour
from device_runtime.errors import CameraError, UsageError
from device_runtime.vision.raw import DamagedFrameError, Encoding
from tests.support.v4l2_driver import FakeDriver

WEBCAM = {
    "YUYV": {(640, 480): 30, (1280, 720): 10, (320, 240): 60},
    "MJPG": {(640, 480): 60, (1280, 720): 30, (1920, 1080): 30},
}


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "video0"
    path.touch()
    return str(path)


def opened(device, driver, **asked):
    told = []
    camera = V4l2Camera(device, CameraOptions(**asked), told.append, driver)
    return camera, [notice.message.partition(": ")[2] for notice in told]


@pytest.mark.parametrize(
    ("modes", "asked", "mode"),
    [
        (WEBCAM, {}, "MJPG 640x480 at 30 fps"),
        (WEBCAM, {"fps": 60.0}, "MJPG 640x480 at 60 fps"),
        (WEBCAM, {"size": (1920, 1080)}, "MJPG 1920x1080 at 30 fps"),
        (WEBCAM, {"size": (320, 240)}, "YUYV 320x240 at 30 fps"),
        (WEBCAM, {"size": (1280, 720), "format": "yuyv", "fps": 10.0}, "YUYV 1280x720 at 10 fps"),
        ({"YUYV": {(640, 480): 30}}, {}, "YUYV 640x480 at 30 fps"),
        ({"NV12": {(640, 480): 30}}, {}, "NV12 640x480 at 30 fps"),
    ],
    ids=["MJPG first", "its rate", "its size", "YUYV has the size", "as asked", "only YUYV", "only NV12"],
)
def test_the_mode_is_what_fits_what_is_asked(device, modes, asked, mode):
    camera, told = opened(device, FakeDriver(modes), **asked)
    assert str(camera.mode) == mode
    assert told == []


@pytest.mark.parametrize(
    ("asked", "notice"),
    [
        ({"size": (1600, 1200)}, "expected size 1600x1200, the camera gives MJPG 1920x1080 at 30 fps"),
        ({"fps": 90.0}, "expected fps 90, the camera gives MJPG 640x480 at 60 fps"),
        ({"format": "NV12"}, "expected format NV12, the camera gives YUYV 640x480 at 30 fps"),
        (
            {"format": "H264", "size": (800, 600), "fps": 120.0},
            "expected format H264, size 800x600, fps 120, the camera gives YUYV 640x480 at 30 fps",
        ),
    ],
)
def test_what_the_camera_gives_instead_is_told(device, asked, notice):
    assert opened(device, FakeDriver(WEBCAM), **asked)[1] == [notice]


def test_the_rate_is_asked_for_last_and_buffers_are_few(device):
    driver = FakeDriver(WEBCAM)
    camera, _ = opened(device, driver, size=(320, 240), fps=60.0)
    assert (camera.fps, driver.rates_asked, driver.buffers) == (60.0, [60.0], 2)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_the_driver_does_not_know_is_none(device, fps):
    camera, _ = opened(device, FakeDriver({"YUYV": {(640, 480): fps}}))
    assert camera.fps is None
    assert str(camera.mode) == "YUYV 640x480"


@pytest.mark.parametrize(
    ("name", "encoding", "shape"),
    [("YUYV", Encoding.YUYV, (48, 64, 2)), ("YU12", Encoding.I420, (72, 64)), ("NV12", Encoding.NV12, (72, 64))],
)
def test_yuv_buffers_are_handed_over_as_they_come(device, name, encoding, shape):
    camera, _ = opened(device, FakeDriver({name: {(64, 48): 30}}))
    frames = [camera.read() for _ in range(3)]
    for index, frame in enumerate(frames):
        assert (frame.encoding, frame.data.shape, frame.index) == (encoding, shape, index)
        assert frame.decoded().pixels.shape == (48, 64, 3)
    assert frames[2].data.max() == 128
    assert frames[2].data.min() == 18


@pytest.mark.parametrize("padding", [0, 1, 20_000])
def test_a_jpeg_is_handed_over_undecoded_and_without_padding(device, padding):
    camera, _ = opened(device, FakeDriver({"MJPG": {(64, 48): 30}}, padding=padding))
    frame = camera.read()
    assert (frame.encoding, frame.width, frame.height) == (Encoding.JPEG, 64, 48)
    assert frame.data[-2:].tobytes() == b"\xff\xd9"
    assert abs(float(frame.decoded().pixels.mean()) - 16) < 2


@pytest.mark.parametrize(
    ("name", "colour", "shape"),
    [("GREY", Colour.GRAY, (48, 64)), ("UYVY", Colour.BGR, (48, 64, 3)), ("NV21", Colour.BGR, (48, 64, 3))],
)
def test_other_formats_become_pictures(device, name, colour, shape):
    camera, _ = opened(device, FakeDriver({name: {(64, 48): 30}}))
    frame = camera.read()
    assert (frame.colour, frame.pixels.shape) == (colour, shape)


def test_one_damaged_frame_is_no_end(device):
    camera, _ = opened(device, FakeDriver({"MJPG": {(64, 48): 30}}, damaged={1}))
    assert camera.read().index == 0
    with pytest.raises(DamagedFrameError, match="frame 1: expected a JPEG, got 0 bytes that begin with nothing"):
        camera.read()
    assert camera.read().index == 2


def test_a_short_yuv_buffer_is_a_damaged_frame(device):
    camera, _ = opened(device, FakeDriver({"YUYV": {(64, 48): 30}}, damaged={0}))
    with pytest.raises(DamagedFrameError, match=r"expected yuyv of 64x48 px, \(48, 64, 2\) uint8, got \(1, 64\)"):
        camera.read()


def test_a_camera_that_is_unplugged_is_an_error(device):
    driver = FakeDriver(WEBCAM, frames=2)
    camera, _ = opened(device, driver)
    camera.read()
    camera.read()
    with pytest.raises(CameraError, match="video0 stopped giving frames after 2") as caught:
        camera.read()
    assert "dmesg" in caught.value.hint
    camera.close()
    assert driver.released == 1


def test_frames_are_stamped_by_the_driver_when_it_uses_our_clock(device):
    taken_ms = time.monotonic() * 1e3 - 40
    camera, _ = opened(device, FakeDriver(WEBCAM, clock=lambda: taken_ms))
    assert abs(camera.read().captured_ns / 1e6 - taken_ms) < 1e-3
    for strange_ms in (0.0, time.time() * 1e3, -1.0):
        before = time.monotonic_ns()
        camera, _ = opened(device, FakeDriver(WEBCAM, clock=lambda value=strange_ms: value))
        assert before <= camera.read().captured_ns <= time.monotonic_ns()


def test_what_cannot_be_opened_is_named_and_let_go_of(device):
    driver = FakeDriver({})
    with pytest.raises(CameraError, match=r"cannot open .*video0: busy, or not a camera") as caught:
        V4l2Camera(device, CameraOptions(), open_capture=driver)
    assert caught.value.hint.startswith("see who uses it: fuser -v ")
    assert driver.released == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_device_that_may_not_be_opened_says_so(device):
    os.chmod(device, 0)  # noqa: PTH101 - a device by its name
    with pytest.raises(CameraError, match="not permitted"):
        V4l2Camera(device, CameraOptions(), open_capture=FakeDriver(WEBCAM))


def test_a_file_that_is_no_camera_is_refused_by_opencv_itself(device):
    with pytest.raises(CameraError, match="busy, or not a camera"):
        V4l2Camera(device, CameraOptions())


def test_a_number_and_a_path_are_devices(device):
    driver = FakeDriver(WEBCAM)
    camera, _ = opened(device, driver)
    assert driver.opened == [device]
    assert camera.name == f"v4l2:{device}"
    with pytest.raises(CameraError, match="no camera at /dev/video97; cameras here:") as caught:
        open_camera("v4l2:97?size=640x480")
    assert "--source synthetic:belt" in caught.value.hint
    with pytest.raises(CameraError, match="no camera at /dev/v4l/by-id/usb-none"):
        open_camera("v4l2:/dev/v4l/by-id/usb-none")


@pytest.mark.parametrize("which", ["front", "-1", "../etc"])
def test_what_is_no_device_is_a_usage_error(which):
    with pytest.raises(UsageError, match="expected a number as in v4l2:0, or a device"):
        open_camera(f"v4l2:{which}")


def test_frames_of_a_camera_are_not_copied(device):
    camera, _ = opened(device, FakeDriver({"YUYV": {(64, 48): 30}}))
    given = []
    retrieve = camera._capture.retrieve
    camera._capture.retrieve = lambda: given.append(retrieve()) or given[-1]
    frame = camera.read()
    assert np.shares_memory(frame.data, given[0][1])
