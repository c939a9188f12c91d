"""``edgekit predict``."""

import numpy as np
import pytest
from PIL import Image

from tests.support.datasets import COLOURS
from tests.support.tflite import (
    brightness_model,
    constant_model,
    detector_model,
    pose_model,
    regressor_model,
    segmenter_model,
)


@pytest.fixture
def pictures(tmp_path):
    for name, colour in COLOURS.items():
        Image.new("RGB", (30, 20), colour).save(tmp_path / f"{name}.png")
    return tmp_path


def test_json_is_one_document_with_an_entry_per_picture(edgekit, pictures):
    brightness_model(pictures / "m.tflite")
    document = edgekit.ok("predict", "m.tflite", "red.png", "blue.png", "--top", 2, "--json").json
    assert document["model"] == "m"
    assert [entry["file"] for entry in document["predictions"]] == ["red.png", "blue.png"]
    first = document["predictions"][0]
    assert [item["label"] for item in first["items"]] == ["red", "dark"]
    assert set(first["items"][0]) == {"index", "label", "score"}
    assert set(first["timings_ms"]) == {"capture", "prepare", "invoke", "decode", "total"}


def test_detections_have_boxes_in_pixels(edgekit, pictures):
    detector_model(pictures / "d.tflite", [[0.5, 0, 1, 0.5]], [[0.9]], ("part",))
    item = edgekit.ok("predict", "d.tflite", "red.png", "--json").json["predictions"][0]["items"][0]
    assert item["box"] == pytest.approx([15, 0, 30, 10])
    assert "part  at 15, 0, 30, 10" in edgekit.ok("predict", "d.tflite", "red.png").out


def test_nothing_found_is_said(edgekit, pictures):
    detector_model(pictures / "d.tflite", [[0.5, 0, 1, 0.5]], [[0.1]], ("part",))
    assert "nothing found" in edgekit.ok("predict", "d.tflite", "red.png").out
    assert edgekit.ok("predict", "d.tflite", "red.png", "--score-threshold", 0.05, "--json").json["predictions"][0][
        "items"
    ]


def test_a_bare_model_is_described_by_options(edgekit, pictures):
    brightness_model(pictures / "m.tflite")
    (pictures / "m.json").unlink()
    (pictures / "labels.txt").write_text("dark\nred\ngreen\nblue\n")
    options = ("--normalise", "0..1", "--task", "classification", "--decoder", "logits", "--labels", "labels.txt")
    items = edgekit.ok("predict", "m.tflite", "green.png", *options, "--json").json["predictions"][0]["items"]
    assert items[0]["label"] == "green"


def test_what_cannot_be_known_of_a_bare_model_is_asked_for_by_the_option_s_name(edgekit, pictures):
    brightness_model(pictures / "m.tflite")
    (pictures / "m.json").unlink()
    answer = edgekit("predict", "m.tflite", "green.png")
    assert answer.code in (2, 3)
    assert "--normalise" in answer.err


def test_an_option_that_contradicts_the_model_s_own_description_is_refused(edgekit, pictures):
    brightness_model(pictures / "m.tflite")
    answer = edgekit("predict", "m.tflite", "green.png", "--normalise", "-1..1")
    assert answer.code == 2
    assert "m was made with mean 0, not 127.5" in answer.err
    edgekit.ok("predict", "m.tflite", "green.png", "--normalise", "0..1")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no.tflite", "red.png"), 3, "no.tflite"),
        (("m.tflite", "no.png"), 3, "no such picture: no.png"),
        (("m.tflite", "broken.png"), 3, "broken.png"),
        (("m.tflite",), 2, "Missing argument"),
        (("m.tflite", "red.png", "--top", "0"), 2, "--top"),
        (("m.tflite", "red.png", "--engine", "tpu"), 2, "expected auto, litert or tflite-runtime"),
        (("m.keras", "red.png"), 3, "a trained model"),
        (("red.png", "red.png"), 3, "red.png"),
        (("m.tflite", "red.png", "--tpo", "1"), 2, "--top"),
    ],
)
def test_mistakes_are_explained(edgekit, pictures, arguments, code, message):
    brightness_model(pictures / "m.tflite")
    (pictures / "broken.png").write_bytes(b"broken")
    (pictures / "m.keras").write_bytes(b"PK")
    for flags in ((), ("--json",)):
        answer = edgekit("predict", *arguments, *flags)
        assert answer.code == code, answer.err
        assert message in answer.err
        assert "Traceback" not in answer.err
    assert answer.json["error"]["exit_code"] == code


@pytest.mark.shared
def test_a_third_party_detector_is_described_by_its_own_metadata(edgekit, shared_data):
    model = shared_data / "models" / "coco_ssd_mobilenet_v1_quant.tflite"
    photo = shared_data / "images" / "cats_and_dogs.jpg"
    items = edgekit.ok("predict", model, photo, "--json").json["predictions"][0]["items"]
    assert {item["label"] for item in items if item["score"] > 0.5} == {"cat", "dog"}


@pytest.mark.shared
def test_a_third_party_classifier_needs_only_its_labels(edgekit, shared_data):
    model = shared_data / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    photo = shared_data / "images" / "imagenet100" / "0340_n02391049_zebra.JPEG"
    labels = shared_data / "labels" / "imagenet_labels.txt"
    items = edgekit.ok("predict", model, photo, "--labels", labels, "--top", 1, "--json").json["predictions"][0][
        "items"
    ]
    assert [item["label"] for item in items] == ["zebra"]


def test_a_segmenter_tells_the_share_of_each_class_and_a_regressor_its_values(edgekit, pictures):
    segmenter_model(pictures / "s.tflite", [[0, 0], [0, 1]], ("sky", "sea"))
    regressor_model(pictures / "r.tflite", [2.5, -1.0], ("speed", "angle"))
    photo = min(pictures.glob("*.png")).name
    items = edgekit.ok("predict", "s.tflite", photo, "--json").json["predictions"][0]["items"]
    assert items == [{"index": 0, "label": "sky", "area": 0.75}, {"index": 1, "label": "sea", "area": 0.25}]
    assert "75.0%  sky" in edgekit.ok("predict", "s.tflite", photo).out
    items = edgekit.ok("predict", "r.tflite", photo, "--json").json["predictions"][0]["items"]
    assert items == [{"index": 0, "label": "speed", "value": 2.5}, {"index": 1, "label": "angle", "value": -1.0}]
    assert "2.5  speed" in edgekit.ok("predict", "r.tflite", photo).out


def test_a_pose_is_told_with_its_named_points(edgekit, pictures):
    pose_model(pictures / "p.tflite", [(0.5, 0.5, 0.9), (0.25, 1.0, 0.5)], ("nose", "tail"))
    (item,) = edgekit.ok("predict", "p.tflite", "red.png", "--json").json["predictions"][0]["items"]
    assert (item["label"], item["score"]) == ("person", pytest.approx(0.7))
    assert item["points"] == [pytest.approx([15, 10, 0.9]), pytest.approx([30, 5, 0.5])]
    assert edgekit.ok("predict", "p.tflite", "red.png").out.splitlines()[1:] == [
        "   70.0%  person  at 15, 5, 30, 10",
        "     90.0%  nose  at 15, 10",
        "     50.0%  tail  at 30, 5",
    ]


def test_a_bare_head_is_described_by_options(edgekit, pictures):
    head = np.zeros((1, 84, 8400), np.float32)
    head[0, :4, 77], head[0, 4 + 2, 77] = (4, 4, 4, 4), 0.75
    constant_model(pictures / "y.tflite", [("head", head, 0.0, 0)])
    answer = edgekit("predict", "y.tflite", "red.png", "--json")
    assert answer.code == 2
    assert "--box-unit pixel" in answer.json["error"]["hint"]
    document = edgekit.ok("predict", "y.tflite", "red.png", "--box-unit", "pixel", "--json").json
    (item,) = document["predictions"][0]["items"]
    assert (item["label"], item["score"]) == ("2", pytest.approx(0.75))
    assert item["box"] == pytest.approx([7.5, 5, 22.5, 15])


def test_an_output_that_is_no_number_is_an_error(edgekit, pictures):
    head = np.zeros((1, 84, 8400), np.float32)
    head[0, 50, 4000] = np.nan
    constant_model(pictures / "y.tflite", [("head", head, 0.0, 0)])
    answer = edgekit("predict", "y.tflite", "red.png", "--box-unit", "pixel")
    assert answer.code == 3
    assert "output head: expected finite numbers, got NaN or infinity" in answer.err
    assert "Traceback" not in answer.err
