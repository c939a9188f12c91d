"""``edgekit evaluate``."""

import json

import pytest
from PIL import Image

from tests.support.datasets import write_class_folders, write_table
from tests.support.tflite import brightness_model, detector_model


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
