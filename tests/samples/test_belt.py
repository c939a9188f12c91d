import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import pytest
from PIL import Image

from device_runtime.cameras.belt_scene import PART_LABELS
from edgekit.project.config import read_project

SAMPLE = Path(__file__).parents[2] / "samples" / "belt"


def run(*arguments):
    return subprocess.run(
        [sys.executable, SAMPLE / "make_images.py", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    out = tmp_path_factory.mktemp("belt") / "images"
    done = run("--out", out, "--calibration", "3", "--evaluation", "6")
    assert done.returncode == 0, done.stderr
    return out


def test_every_row_of_the_labels_is_a_part_in_its_picture(images):
    with (images / "evaluation" / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    pictures = sorted(path.name for path in (images / "evaluation").glob("*.jpg"))

    assert sorted({row["file"] for row in rows}) == pictures
    assert len(pictures) == 6
    assert list(rows[0]) == ["file", "label", "x1", "y1", "x2", "y2"]
    for row in rows:
        assert row["label"] in PART_LABELS
        assert 0 <= float(row["x1"]) < float(row["x2"]) <= 640
        assert 0 <= float(row["y1"]) < float(row["y2"]) <= 480


def test_calibration_pictures_have_the_camera_s_size_and_are_none_of_the_evaluation(images):
    calibration = {path.read_bytes() for path in (images / "calibration").iterdir()}
    evaluation = {path.read_bytes() for path in (images / "evaluation").glob("*.jpg")}

    assert len(calibration) == 3
    assert not calibration & evaluation
    with Image.open(next((images / "calibration").iterdir())) as picture:
        assert picture.size == (640, 480)


def test_the_demo_video_has_the_frames_that_were_asked_for(tmp_path):
    done = run("--video", tmp_path / "belt.mp4", "--frames", "5")
    video = cv2.VideoCapture(str(tmp_path / "belt.mp4"))
    shapes = []
    while (frame := video.read()[1]) is not None:
        shapes.append(frame.shape)

    assert done.returncode == 0, done.stderr
    assert shapes == [(480, 640, 3)] * 5


def test_a_video_that_cannot_be_written_leaves_nothing(tmp_path):
    for name, said in (("belt.txt", "belt.mp4"), ("missing/belt.mp4", "mkdir -p")):
        done = run("--video", tmp_path / name, "--frames", "2")

        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_wish_the_script_says_what_it_can_do():
    done = run()

    assert done.returncode == 2
    assert "give --out DIR or --video OUT.mp4" in done.stderr


def test_the_project_file_names_what_is_there_and_fits_the_model():
    project = read_project(SAMPLE / "edgekit.toml")
    with zipfile.ZipFile(project.source) as archive:
        config = json.loads(archive.read("config.json"))["config"]
    kinds = {layer["class_name"] for layer in config["layers"]}

    assert project.source.stat().st_size <= 1_000_000
    assert config["layers"][0]["config"]["batch_shape"] == [None, 192, 256, 3]
    assert [output[0] for output in config["output_layers"]] == ["boxes", "scores"]
    assert "Lambda" not in kinds
    assert tuple(project.labels.read_text().splitlines()) == PART_LABELS
