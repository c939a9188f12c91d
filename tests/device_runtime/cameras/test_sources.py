"""Every source of frames, and every way in which it can be wrong."""

import numpy as np
import pytest
from PIL import Image

from device_runtime.cameras.sources import Repeating, open_camera
from device_runtime.cameras.synthetic import SCENES
from device_runtime.contract.model import Colour
from device_runtime.errors import BadFileError, CameraError, UsageError
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
    levels = [float(frame.pixels.mean()) for frame in frames]
    assert np.abs(np.array(levels) - np.arange(20) * 255 / 19).max() < 8
    assert frames[0].colour is Colour.BGR
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
