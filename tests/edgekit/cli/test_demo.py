"""``edgekit demo``."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import pytest

from tests.support.running import get, page_of
from tests.support.tflite import brightness_model, detector_model
from tests.support.video import write_video


def count_frames(path):
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_every_frame_of_a_video_is_annotated(edgekit, tmp_path):
    detector_model(tmp_path / "d.tflite", [[0.2, 0.2, 0.8, 0.8]], [[0.9]], ("part",))
    write_video(tmp_path / "clip.mp4", frames=12)
    document = edgekit.ok("demo", "d.tflite", "--source", "file:clip.mp4", "--save", "out.mp4", "--json").json
    assert (document["frames"], document["dropped"], document["seen"]) == (12, 0, {"part": 12})
    assert document["video"] == "out.mp4"
    assert count_frames(tmp_path / "out.mp4") == 12


def test_a_drawn_scene_ends_after_the_frames_that_were_asked_for(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    answer = edgekit.ok("demo", "m.tflite", "--source", "synthetic:pattern", "--frames", 5)
    assert "5 frames from synthetic:pattern" in answer.out


def test_saving_a_scene_without_end_is_refused(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    answer = edgekit("demo", "m.tflite", "--source", "synthetic:pattern", "--save", "x.mp4")
    assert answer.code == 2
    assert "--frames" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--source", "camera:97"), 1, "no camera at /dev/video97"),
        (("--source", "file:no.mp4"), 1, "no such video"),
        (("--source", "rtsp://me:geheim@cam/1"), 2, "EDGEKIT_RTSP_AUTH"),
        (("--source", "synthetic:bolt", "--frames", "1"), 2, 'did you mean "belt"?'),
        ((), 2, "no source of frames"),
        (("--source", "synthetic:pattern", "--frames", "2", "--save", "no/x.mp4"), 1, "does not exist"),
        (("--source", "synthetic:pattern", "--frames", "2", "--save", "x.txt"), 2, "expected a video file"),
    ],
)
def test_mistakes_are_explained_and_leave_nothing(edgekit, tmp_path, arguments, code, message):
    brightness_model(tmp_path / "m.tflite")
    before = sorted(tmp_path.iterdir())
    answer = edgekit("demo", "m.tflite", *arguments)
    assert answer.code == code, answer.err
    assert message in answer.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_truncated_video_ends_with_an_error_and_no_half_of_a_result(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    path = write_video(tmp_path / "clip.avi", frames=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    answer = edgekit("demo", "m.tflite", "--source", "file:clip.avi", "--save", "out.mp4")
    assert answer.code == 1
    assert "damaged or truncated" in answer.err
    assert not (tmp_path / "out.mp4").exists()


def test_outside_a_project_without_a_model_it_says_how_to_begin(edgekit):
    answer = edgekit("demo")
    assert answer.code == 2
    assert "edgekit new" in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_a_whole_video(tmp_path, number):
    detector_model(tmp_path / "d.tflite", [[0.2, 0.2, 0.8, 0.8]], [[0.9]], ("part",))
    command = [sys.executable, "-m", "edgekit", "demo", "d.tflite", "--source", "synthetic:pattern"]
    with subprocess.Popen(
        [*command, "--frames", "1000000", "--save", "out.avi"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as running:
        while not any(path.stat().st_size > 100_000 for path in tmp_path.glob(".out-*")):
            assert running.poll() is None
            time.sleep(0.02)
        os.kill(running.pid, number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert count_frames(tmp_path / "out.avi") > 0
    assert not list(tmp_path.glob(".out-*"))


def test_the_page_is_served_while_a_demo_runs(tmp_path):
    brightness_model(tmp_path / "m.tflite")
    command = [sys.executable, "-m", "edgekit", "demo", "m.tflite", "--source", "synthetic:pattern?fps=50"]
    with subprocess.Popen(
        [*command, "--page", "0", "--track"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as refused:
        _, err = refused.communicate(timeout=60)
    assert refused.returncode == 2  # a classifier gives no boxes to follow
    assert "Traceback" not in err
    with subprocess.Popen(
        [*command, "--page", "0", "--workers", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        url = page_of(running)
        while json.loads(get(url + "status.json"))["frames"]["predicted"] < 3:
            pass
        running.terminate()
        running.communicate(timeout=60)
    assert running.returncode == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--page", "eighty"), "page: expected PORT or HOST:PORT, got 'eighty'"),
        (("--page", "127.0.0.1:99999"), "page: expected PORT or HOST:PORT"),
        (("--page", "0.0.0.0:0"), "lets other machines see the page, and there is no token"),
        (("--workers", "many"), "'many' is not a valid integer"),
        (("--workers", "0"), "0 is not in the range"),
    ],
)
def test_wrong_pages_and_workers_are_explained(edgekit, tmp_path, monkeypatch, arguments, message):
    monkeypatch.delenv("EDGEKIT_PAGE_TOKEN", raising=False)
    brightness_model(tmp_path / "m.tflite")
    answer = edgekit("demo", "m.tflite", "--source", "synthetic:pattern", "--frames", "2", *arguments)
    assert answer.code == 2
    assert message in answer.err
