"""Every source of frames, and every way in which it can be wrong."""

import re
import time

import numpy as np
import pytest
from PIL import Image

from device_runtime.cameras.sources import CameraOptions, Repeating, open_camera
from device_runtime.cameras.synthetic import SCENES
from device_runtime.contract.model import Colour
from device_runtime.errors import BadFileError, CameraError, UsageError
from device_runtime.vision.frame import Frame
from device_runtime.vision.raw import DamagedFrameError, Encoding
from tests.support.avi import write_avi
from tests.support.v4l2_driver import picture
from tests.support.video import write_video


def all_frames(source):
    camera = open_camera(source)
    frames = []
    while (frame := camera.read()) is not None:
        frames.append(frame)
    camera.close()
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_gives_all_its_frames_in_order(tmp_path, suffix):
    path = write_video(tmp_path / f"clip{suffix}")
    frames = all_frames(f"file:{path}")
    assert [frame.index for frame in frames] == list(range(20))
    levels = [float(frame.decoded().pixels.mean()) for frame in frames]
    assert np.abs(np.array(levels) - np.arange(20) * 255 / 19).max() < 8
    assert frames[0].decoded().colour is Colour.BGR
    assert open_camera(f"file:{path}").fps == 25


def test_a_video_that_ends_too_early_is_damaged(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=100)
    whole = path.read_bytes()
    # Cut in the pictures, with the index kept at the end's place: the header still promises 100 frames.
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CameraError, match=r"ends after \d+ of 100 frames: damaged or truncated"):
        all_frames(f"file:{path}")


def test_a_video_without_its_index_cannot_be_opened(tmp_path):
    path = write_video(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(CameraError, match="not a readable video"):
        open_camera(f"file:{path}")


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_what_is_no_video_is_named(tmp_path, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(CameraError, match=r"clip\.mp4: not a readable video"):
        open_camera(f"file:{tmp_path / 'clip.mp4'}")


def test_an_absent_video_and_an_absent_camera_are_named(tmp_path):
    with pytest.raises(CameraError, match="no such video"):
        open_camera(f"file:{tmp_path / 'no.mp4'}")
    with pytest.raises(CameraError, match="no camera at /dev/video97; cameras here:") as caught:
        open_camera("v4l2:97")
    assert "--source synthetic:belt" in caught.value.hint


def test_a_folder_gives_its_pictures_by_name(tmp_path):
    for level, name in ((10, "b.png"), (20, "a.jpg")):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name)
    frames = all_frames(f"dir:{tmp_path}")
    assert [round(float(frame.pixels.mean())) for frame in frames] == [20, 10]
    assert [frame.index for frame in frames] == [0, 1]


def test_an_empty_folder_and_a_damaged_picture_are_errors(tmp_path):
    with pytest.raises(CameraError, match="no pictures in it"):
        open_camera(f"dir:{tmp_path}")
    with pytest.raises(CameraError, match="no such folder"):
        open_camera(f"dir:{tmp_path / 'no'}")
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(BadFileError, match=r"a\.png"):
        all_frames(f"dir:{tmp_path}")


@pytest.mark.parametrize("scene", list(SCENES))
def test_a_drawn_scene_moves_and_is_the_same_each_time(scene):
    cameras = [open_camera(f"synthetic:{scene}") for _ in range(2)]
    first = [cameras[0].read() for _ in range(3)]
    again = [cameras[1].read() for _ in range(3)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (first[0].pixels != first[2].pixels).any()
    assert first[0].pixels.shape == (480, 640, 3)


@pytest.mark.parametrize("source", ["", "clip.mp4", "file:", "http://x", "v4l2:front", "camera:-1"])
def test_what_is_no_source_is_a_usage_error(source):
    with pytest.raises(UsageError, match="expected"):
        open_camera(source)


def test_an_unknown_scene_is_corrected():
    with pytest.raises(UsageError, match='no synthetic scene "bolt"') as caught:
        open_camera("synthetic:bolt")
    assert caught.value.hint == 'did you mean "belt"?'


def test_a_repeating_source_begins_again_and_counts_on(tmp_path):
    camera = Repeating(f"file:{write_video(tmp_path / 'clip.mp4', frames=3)}")
    frames = [camera.read() for _ in range(8)]
    assert [frame.index for frame in frames] == list(range(8))
    np.testing.assert_array_equal(frames[0].pixels, frames[6].pixels)
    camera.close()


def test_an_mjpeg_file_hands_over_its_packets(tmp_path):
    frames = all_frames(f"file:{write_video(tmp_path / 'clip.avi')}")
    assert {frame.encoding for frame in frames} == {Encoding.JPEG}
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}
    assert frames[0].capture_ms < 1e3
    assert all(isinstance(frame, Frame) for frame in all_frames(f"file:{write_video(tmp_path / 'clip.mp4')}"))


def test_an_mjpeg_file_whose_packets_are_no_frames_is_decoded(tmp_path):
    # An interlaced file has two pictures in each packet, of every second row.
    fields = bytes(picture(100, (64, 48)))
    path = write_avi(tmp_path / "clip.avi", [fields + fields] * 20, (64, 96))
    frames = all_frames(f"file:{path}")
    assert len(frames) == 20
    assert isinstance(frames[0], Frame)
    assert (frames[0].width, frames[0].height) == (64, 96)


def test_packets_without_huffman_tables_are_decoded(tmp_path):
    # Cameras leave the tables out that every MJPEG decoder knows (AVI's MJPG; ITU-T T.81, K.3).
    whole = bytes(picture(100, (64, 48)))
    tables = whole.index(b"\xff\xc4")
    scan = whole.index(b"\xff\xda")
    path = write_avi(tmp_path / "clip.avi", [whole[:tables] + whole[scan:]] * 3, (64, 48))
    frames = all_frames(f"file:{path}")
    assert [abs(float(frame.decoded().pixels.mean()) - 100) < 2 for frame in frames] == [True] * 3


def test_a_damaged_packet_is_one_damaged_frame(tmp_path):
    path = write_video(tmp_path / "clip.avi")
    content = path.read_bytes()
    second = content.index(b"\xff\xd8\xff", content.index(b"\xff\xd8\xff") + 3)
    path.write_bytes(content[:second] + b"\0\0" + content[second + 2 :])
    camera = open_camera(f"file:{path}")
    assert camera.read().index == 0
    with pytest.raises(DamagedFrameError, match="frame 1: expected a JPEG"):
        camera.read()
    assert [camera.read().index for _ in range(18)] == list(range(2, 20))
    assert camera.read() is None
    camera.close()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_at_its_own_speed_is_live_and_its_frames_are_as_new_as_a_cameras(tmp_path, suffix):
    path = write_video(tmp_path / f"clip{suffix}", frames=6)
    camera = open_camera(f"file:{path}?live")
    assert (camera.live, camera.fps) == (True, 25)
    stamps = []
    while (frame := camera.read()) is not None:
        assert 0 <= time.monotonic_ns() - frame.captured_ns < 1e9
        stamps.append(frame.captured_ns)
    camera.close()
    # A frame never comes earlier than its time; later it may.
    assert stamps[5] - stamps[0] >= 5 * 40_000_000 - 5_000_000


def test_a_rate_makes_a_source_live_at_that_rate(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=3)
    for source in (f"file:{path}?fps=200", "synthetic:pattern?fps=200", f"file:{path}?live&fps=200"):
        camera = open_camera(source)
        assert (camera.live, camera.fps) == (True, 200.0)
        first, second = camera.read(), camera.read()
        assert (first.index, second.index) == (0, 1)
        assert second.captured_ns - first.captured_ns >= 4_000_000
        camera.close()
    assert open_camera("synthetic:pattern?live").fps == 30
    assert not open_camera(f"file:{path}").live


def test_a_path_with_a_question_mark_is_a_path_when_it_exists(tmp_path):
    path = write_video(tmp_path / "clip?live.avi", frames=3)
    camera = open_camera(f"file:{path}")
    assert not camera.live
    camera.close()


@pytest.mark.parametrize("scene", list(SCENES))
def test_a_scene_has_the_size_that_is_asked_for(scene):
    asked = CameraOptions(size=(320, 240))
    for camera in (open_camera(f"synthetic:{scene}?size=320x240"), open_camera(f"synthetic:{scene}", asked)):
        assert camera.read().pixels.shape == (240, 320, 3)


def test_what_cannot_be_asked_of_a_source_is_told(tmp_path):
    path = write_video(tmp_path / "clip.avi", frames=3)
    told = []
    camera = open_camera(f"file:{path}", CameraOptions((640, 480), 15.0, "MJPG"), told.append)
    assert not camera.live
    camera.close()
    assert [notice.message for notice in told] == [
        f"file:{path}: size and fps and format cannot be asked of this source"
    ]
    open_camera("synthetic:pattern", CameraOptions((640, 480)), told.append).close()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("v4l2:0?size=640", "size: expected WIDTHxHEIGHT as in 1280x720, got '640'"),
        ("v4l2:0?size=0x480", "size: expected a width and a height of 1–65535 px, got 0x480"),
        ("v4l2:0?fps=fast", "fps: expected a number, got 'fast'"),
        ("v4l2:0?fps=nan", "fps: expected more than 0 and at most 1000, got nan"),
        ("v4l2:0?fps=0", "fps: expected more than 0"),
        ("v4l2:0?format=H.264", "format: expected four characters as in MJPG or YUYV, got 'H.264'"),
        ("v4l2:0?fps=30&fps=15", "fps is given twice"),
        ("v4l2:0?rate=30", 'expected the options size, fps, format, got "rate"'),
        ("v4l2:0?", 'expected the options size, fps, format, got ""'),
        ("file:clip.avi?live=yes", "expected live without a value, got 'yes'"),
        ("file:clip.avi?size=640x480", 'expected the options live, fps, got "size"'),
        ("synthetic:belt?size=10x10", "synthetic:belt: expected a size of 160x120 to 4096x4096 px, got 10x10"),
    ],
)
def test_an_option_that_is_wrong_is_named(source, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        open_camera(source)


def test_an_option_is_corrected():
    with pytest.raises(UsageError) as caught:
        open_camera("v4l2:0?formta=MJPG")
    assert caught.value.hint == 'did you mean "format"?'


def test_source_and_service_may_not_ask_for_different_things():
    with pytest.raises(UsageError, match="size 640x480 is in the source, but 320x240 is asked for as well") as caught:
        open_camera("synthetic:belt?size=640x480", CameraOptions(size=(320, 240)))
    assert caught.value.hint == "leave one of the two size out"
    assert open_camera("synthetic:belt?size=320x240", CameraOptions(size=(320, 240))).read().width == 320


def test_formats_have_one_name():
    assert {CameraOptions(format=name).format for name in ("mjpg", "MJPEG", "jpeg")} == {"MJPG"}
    assert CameraOptions(format="yuy2").format == "YUYV"


def test_a_repeating_mjpeg_file_counts_on(tmp_path):
    camera = Repeating(f"file:{write_video(tmp_path / 'clip.avi', frames=3)}")
    frames = [camera.read() for _ in range(7)]
    assert [frame.index for frame in frames] == list(range(7))
    assert {frame.encoding for frame in frames} == {Encoding.JPEG}
    camera.close()


def test_a_source_without_frames_cannot_repeat(tmp_path):
    camera = Repeating(f"file:{write_video(tmp_path / 'clip.avi', frames=1)}")
    camera.read()
    (tmp_path / "clip.avi").unlink()
    with pytest.raises(CameraError, match="no such video"):
        camera.read()


def test_camera_0_is_the_machines_own_way():
    with pytest.raises(CameraError, match="no camera at /dev/video96"):
        open_camera("camera:96")
