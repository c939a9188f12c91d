"""``edgekit evaluate``."""

import json

import numpy as np
import pytest
from PIL import Image

from device_runtime.contract.model import Resize
from tests.support.datasets import write_class_folders, write_table
from tests.support.tflite import (
    brightness_model,
    detector_model,
    pose_model,
    regressor_model,
    segmenter_model,
    tensor_model,
)


def test_accuracy_is_told_in_all_and_per_class(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    write_class_folders(tmp_path / "set")
    # One picture in the wrong folder: 8 of 9 are right.
    Image.new("RGB", (9, 9), (0, 0, 255)).save(tmp_path / "set/red/wrong.png")
    document = edgekit.ok("evaluate", "m.tflite", "set", "--json").json
    assert document["metrics"] == {"top1": pytest.approx(8 / 9)}
    assert {row["label"]: (row["samples"], round(row["value"], 3)) for row in document["per_class"]} == {
        "dark": (2, 1.0),
        "red": (3, 0.667),
        "green": (2, 1.0),
        "blue": (2, 1.0),
    }
    out = edgekit.ok("evaluate", "m.tflite", "set").out
    assert "top-1 accuracy: 88.89% on 9 pictures" in out


def test_a_detector_is_measured_by_its_average_precision(edgekit, tmp_path):
    detector_model(tmp_path / "d.tflite", [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], [[0.9, 0], [0, 0.4]], ("nut", "bolt"))
    rows = [
        ("a.png", "nut", 0, 0, 320, 240),
        ("a.png", "bolt", 320, 240, 640, 480),
        ("b.png", "nut", 0, 0, 320, 240),
        ("b.png", "bolt", 0, 0, 100, 100),
        ("c.png", "", "", "", "", ""),
    ]
    document = edgekit.ok("evaluate", "d.tflite", write_table(tmp_path / "set", rows), "--json").json
    # nut: three detections with one score, two truths: AP 1 up to recall 1 when the right ones come first.
    # bolt: found in one of two pictures, at best precision 1 for recall one half.
    assert document["metrics"]["map50"] == pytest.approx((1.0 + 0.5) / 2)
    assert {row["label"]: row["samples"] for row in document["per_class"]} == {"nut": 2, "bolt": 2}


def write_masks(folder, *masks, size=(640, 480)):
    rows = [(f"{index}.png", f"mask-{index}.png") for index in range(len(masks))]
    write_table(folder, rows, ("file", "mask"), size)
    for (_, name), mask in zip(rows, masks, strict=True):
        Image.fromarray(np.asarray(mask, np.uint8)).resize(size, Image.Resampling.NEAREST).save(folder / name)
    return folder


def test_a_segmenter_is_measured_by_mean_iou_in_the_picture(edgekit, tmp_path):
    segmenter_model(tmp_path / "s.tflite", [[0, 0], [1, 1]], ("sky", "sea"))
    write_masks(tmp_path / "set", [[0, 0], [1, 1]], [[0, 0], [1, 0]], [[255, 0], [255, 1]])
    document = edgekit.ok("evaluate", "s.tflite", "set", "--json").json
    # In quarters of a picture. Sky: 5 common of 6; sea: 4 common of 5.
    assert document["metrics"]["miou"] == pytest.approx((5 / 6 + 4 / 5) / 2)
    assert [(row["label"], row["samples"]) for row in document["per_class"]] == [("sky", 3), ("sea", 3)]
    assert "mean IoU: 81.67% on 3 pictures" in edgekit.ok("evaluate", "s.tflite", "set").out


def test_what_a_segmenter_does_not_see_does_not_count(edgekit, tmp_path):
    segmenter_model(tmp_path / "s.tflite", [[1, 1], [1, 1]], ("sky", "sea"), resize=Resize.CENTER_CROP)
    write_masks(tmp_path / "set", [[0, 1, 1, 0]], size=(400, 200))
    assert edgekit.ok("evaluate", "s.tflite", "set", "--json").json["metrics"]["miou"] == 1.0


def test_a_mask_of_another_size_or_with_colours_is_an_error(edgekit, tmp_path):
    segmenter_model(tmp_path / "s.tflite", [[0, 1]], ("sky", "sea"))
    write_masks(tmp_path / "set", [[0, 1]])
    Image.new("L", (64, 48)).save(tmp_path / "set/mask-0.png")
    answer = edgekit("evaluate", "s.tflite", "set")
    assert (answer.code, "expected 640x480 px as set/0.png, got 64x48" in answer.err) == (3, True)
    Image.new("RGB", (640, 480)).save(tmp_path / "set/mask-0.png")
    assert "got mode RGB" in edgekit("evaluate", "s.tflite", "set").err


def test_a_regressor_is_measured_by_its_mean_absolute_error(edgekit, tmp_path):
    regressor_model(tmp_path / "r.tflite", [2.0, 10.0], ("speed", "angle"))
    write_table(tmp_path / "set", [("a.png", 2.5, 10), ("b.png", 1.0, 14)], ("file", "value", "value"))
    document = edgekit.ok("evaluate", "r.tflite", "set", "--json").json
    assert document["metrics"]["mae"] == pytest.approx((0.75 + 2) / 2)
    assert {row["label"]: row["value"] for row in document["per_class"]} == {"speed": 0.75, "angle": 2.0}
    assert "mean absolute error: 1.375 on 2 pictures" in edgekit.ok("evaluate", "r.tflite", "set").out


def test_too_few_values_are_an_error_that_shows_the_header(edgekit, tmp_path):
    regressor_model(tmp_path / "r.tflite", [2.0, 10.0])
    write_table(tmp_path / "set", [("a.png", 2.5)], ("file", "value"))
    answer = edgekit("evaluate", "r.tflite", "set")
    assert answer.code == 3
    assert "expected 2 values as r gives, got 1" in answer.err
    assert "file,value,value" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "t.tflite", "set"),
        ("predict", "t.tflite", "set/0.png"),
        ("demo", "t.tflite", "--source", "dir:set"),
        ("bench", "t.tflite", "--source", "dir:set"),
        ("bundle", "t.tflite", "--output", "t.edgekit"),
    ],
)
def test_a_model_that_takes_tensors_is_refused_where_pictures_go_in(edgekit, tmp_path, words):
    tensor_model(tmp_path / "t.tflite")
    write_table(tmp_path / "set", [("0.png", 1, 2)], ("file", "value", "value"))
    answer = edgekit(*words)
    assert answer.code == 3
    assert "expected a model that takes one picture, got one that takes tensors: left [1, 2] float32" in answer.err


def test_unreadable_pictures_are_named_skipped_and_counted(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    write_class_folders(tmp_path / "set")
    (tmp_path / "set/red/broken.png").write_bytes(b"")
    answer = edgekit.ok("evaluate", "m.tflite", "set", "--json")
    assert answer.json["skipped"] == ["set/red/broken.png"]
    assert answer.json["pictures"] == 8
    assert "skipped: set/red/broken.png" in answer.err


def test_when_no_picture_can_be_read_it_fails(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    (tmp_path / "set/red").mkdir(parents=True)
    (tmp_path / "set/red/broken.png").write_bytes(b"")
    answer = edgekit("evaluate", "m.tflite", "set")
    assert answer.code == 3
    assert "none of its 1 pictures can be read" in answer.err


def test_a_label_that_the_model_does_not_know_is_corrected(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    write_class_folders(tmp_path / "set")
    (tmp_path / "set/red").rename(tmp_path / "set/rad")
    answer = edgekit("evaluate", "m.tflite", "set")
    assert answer.code == 2
    assert 'label "rad" is none of the model\'s' in answer.err
    assert 'did you mean "red"?' in answer.err


def test_classes_without_names_are_their_numbers(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    spec = json.loads((tmp_path / "m.json").read_text())
    spec["labels"] = []
    (tmp_path / "m.json").write_text(json.dumps(spec))
    write_class_folders(tmp_path / "set")
    for number, name in enumerate(("dark", "red", "green", "blue")):
        (tmp_path / "set" / name).rename(tmp_path / "set" / str(number))
    assert edgekit.ok("evaluate", "m.tflite", "set", "--json").json["metrics"]["top1"] == 1.0


def test_boxes_for_a_classifier_are_refused(edgekit, tmp_path):
    brightness_model(tmp_path / "m.tflite")
    write_table(tmp_path / "set", [("a.png", "red", 0, 0, 1, 1)])
    answer = edgekit("evaluate", "m.tflite", "set")
    assert answer.code == 2
    assert "a classification model needs labels that are classes" in answer.err


@pytest.mark.shared
def test_a_thousand_classes_have_a_top_five(edgekit, shared_data, tmp_path):
    photos = sorted((shared_data / "images" / "imagenet100").iterdir())[:20]
    rows = "".join(f"{photo},{int(photo.name[:4]) + 1}\n" for photo in photos)
    (tmp_path / "labels.csv").write_text("file,label\n" + rows)
    model = shared_data / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    metrics = edgekit.ok("evaluate", model, tmp_path, "--json").json["metrics"]
    assert metrics["top1"] >= 0.7
    assert metrics["top1"] <= metrics["top5"] <= 1.0


def test_poses_have_no_labels_to_be_measured_by(edgekit, tmp_path):
    pose_model(tmp_path / "p.tflite", [(0.5, 0.5, 0.9)])
    write_class_folders(tmp_path / "set")
    answer = edgekit("evaluate", "p.tflite", "set")
    assert answer.code == 2
    assert "there are no labels that a pose model is measured by" in answer.err
    assert "edgekit compare" in answer.err
