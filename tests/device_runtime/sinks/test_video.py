"""Annotated video: complete, or not there."""

import os

import cv2
import numpy as np
import pytest

from device_runtime.contract.model import Colour
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.errors import EdgeError, UsageError
from device_runtime.sinks.video import AnnotatedVideo
from device_runtime.vision.frame import Frame
from tests.support.events import event, jpeg_frame

BOXED = Prediction(0, 0, (Item(0, "gear", 0.9, (10.0, 10.0, 50.0, 40.0)),), {"invoke": 1.5})


def frame(width=64, height=48, colour=Colour.RGB):
    return Frame(np.zeros((height, width, 3), np.uint8), colour)


def frames_of(path):
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    found = []
    while (read := capture.read())[0]:
        found.append(read[1])
    capture.release()
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_video_holds_all_frames_with_what_was_found(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    video = AnnotatedVideo(path, 25.0)
    given = frame()
    for _ in range(10):
        video.take(given, BOXED)
    assert not path.exists()
    video.close(failed=False)
    frames = frames_of(path)
    assert len(frames) == 10
    assert frames[0][10:13, 12:48].max() > 100  # the box's edge
    assert not given.pixels.any()  # drawing is done on a copy
    assert list(tmp_path.iterdir()) == [path]


def test_frames_as_a_camera_gave_them_are_decoded_once(tmp_path):
    given = jpeg_frame()
    video = AnnotatedVideo(tmp_path / "out.mp4", 25.0)
    video.take(given, BOXED)
    video.take(given, Prediction(0, 0, (), events=(event(1, "end"),)))  # what ends events at the end is no frame
    video.close(failed=False)
    assert len(frames_of(tmp_path / "out.mp4")) == 1
    assert frames_of(tmp_path / "out.mp4")[0][10:13, 12:48].max() > 100
    assert not given.decoded().pixels.any()


def test_frames_of_another_size_and_colour_go_on_in_the_first_size(tmp_path):
    video = AnnotatedVideo(tmp_path / "out.mp4", None)
    for given in (frame(), frame(128, 96, Colour.BGR), frame(32, 100)):
        video.take(given, BOXED)
    video.close(failed=False)
    assert [shot.shape for shot in frames_of(tmp_path / "out.mp4")] == [(48, 64, 3)] * 3


@pytest.mark.parametrize("frames", [0, 3])
def test_a_failed_run_leaves_nothing(tmp_path, frames):
    video = AnnotatedVideo(tmp_path / "out.mp4", 25.0)
    for _ in range(frames):
        video.take(frame(), BOXED)
    video.close(failed=True)
    assert list(tmp_path.iterdir()) == []


def test_an_older_video_stays_when_the_run_fails(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")
    video = AnnotatedVideo(path, 25.0)
    video.take(frame(), BOXED)
    video.close(failed=True)
    assert path.read_bytes() == b"old"


def test_an_unknown_suffix_and_a_missing_folder_are_errors_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match=r"expected a video file \(\.mp4, \.avi, \.mkv\), got suffix '\.txt'"):
        AnnotatedVideo(tmp_path / "out.txt", 25.0)
    with pytest.raises(EdgeError, match="does not exist"):
        AnnotatedVideo(tmp_path / "no" / "out.mp4", 25.0)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_an_error_and_leaves_nothing(small_disk):
    video = AnnotatedVideo(small_disk / "out.avi", 25.0)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    for _ in range(30):
        video.take(Frame(noise, Colour.BGR), BOXED)
    with pytest.raises(EdgeError, match=r"cannot write .*out\.avi"):
        video.close(failed=False)
    assert list(small_disk.iterdir()) == []
