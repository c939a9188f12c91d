"""``edgekit compare`` on models that are made here."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from converters.tflite_writer import pack, unpack
from device_runtime.contract.decode import dumps
from device_runtime.contract.model import Resize
from tests.support.datasets import COLOURS, write_class_folders
from tests.support.tflite import brightness_model, detector_model, pose_model, regressor_model, tensor_model


@pytest.fixture
def pair(tmp_path):
    """Two classifiers; the second takes everything blue for dark."""
    one, two = tmp_path / "one.tflite", tmp_path / "two.tflite"
    brightness_model(one)
    brightness_model(two)
    model = unpack(two.read_bytes())
    tensor = next(tensor for tensor in model.subgraphs[0].tensors if tensor.name == b"weights")
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).copy()
    values[9:] = 0
    model.buffers[tensor.buffer].data = values.view(np.uint8)
    two.write_bytes(pack(model))
    return one, two


def test_labelled_pictures_tell_accuracy_agreement_and_where_they_differ(edgekit, pair, tmp_path):
    write_class_folders(tmp_path / "set")
    document = edgekit.ok("compare", *pair, "set", "--json").json
    assert [side["metrics"]["top1"] for side in document["sides"]] == [1.0, 0.75]
    assert (document["agreement"], document["pictures"]) == (0.75, 8)
    assert [item["picture"] for item in document["differences"]] == ["0.png", "1.png"]
    assert document["differences"][0]["one_says"].startswith("blue")
    assert document["differences"][0]["two_says"].startswith("dark")


def test_any_folder_of_pictures_tells_agreement(edgekit, pair, tmp_path):
    (tmp_path / "photos").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (20, 20), colour).save(tmp_path / "photos" / f"{name}.png")
    document = edgekit.ok("compare", *pair, "photos", "--json").json
    assert (document["agreement"], document["pictures"]) == (0.75, 4)
    assert [side["metrics"] for side in document["sides"]] == [{}, {}]


def test_labels_of_something_else_leave_the_agreement(edgekit, pair, tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20), (9, 9, 9)).save(tmp_path / "set" / name / "a.png")
    answer = edgekit.ok("compare", *pair, "set", "--json")
    assert (answer.json["agreement"], answer.json["sides"][0]["metrics"]) == (1.0, {})
    assert 'label "cats" is none of the model' in answer.err


def test_without_pictures_sizes_latencies_pieces_and_operators_are_told(edgekit, pair, engine):
    document = edgekit.ok("compare", *pair, "--engine", engine, "--json").json
    assert document["agreement"] is None
    for side, path in zip(document["sides"], pair, strict=True):
        assert side["size_bytes"] == path.stat().st_size
        assert side["latency_ms"] > 0
        assert (side["partitions"]["engine"], side["partitions"]["count"]) == (engine, 1)
    assert document["operators"] == [
        {"name": "FULLY_CONNECTED", "version": 1, "counts": [1, 1]},
        {"name": "MEAN", "version": 1, "counts": [1, 1]},
    ]


def test_people_get_it_side_by_side(edgekit, pair, tmp_path):
    write_class_folders(tmp_path / "set")
    out = edgekit.ok("compare", *pair, "set").out
    assert "top-1 accuracy" in out
    assert "agreement: 75.0% on 8 pictures" in out
    assert "0.png: blue" in out


def test_detectors_agree_on_objects(edgekit, tmp_path):
    boxes = [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    detector_model(tmp_path / "one.tflite", boxes, [[0.9, 0], [0, 0.8]], ("nut", "bolt"))
    detector_model(tmp_path / "two.tflite", boxes, [[0.7, 0], [0, 0.1]], ("nut", "bolt"))
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "a.png")
    document = edgekit.ok("compare", "one.tflite", "two.tflite", "photos", "--json").json
    # One object of the two of the first, and the only one of the second: F1 is 2/3.
    assert document["agreement"] == pytest.approx(2 / 3)
    (difference,) = document["differences"]
    assert (difference["one_says"], difference["two_says"]) == ("nut 0.90, bolt 0.80", "nut 0.70")


def test_poses_agree_on_points(edgekit, tmp_path):
    pose_model(tmp_path / "one.tflite", [(0.1, 0.1, 0.9), (0.9, 0.9, 0.9)])
    pose_model(tmp_path / "two.tflite", [(0.1, 0.1, 0.7), (0.5, 0.9, 0.7)])
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "a.png")
    assert edgekit.ok("compare", "one.tflite", "two.tflite", "photos", "--json").json["agreement"] == 0.5


def test_numbers_agree_within_their_spread(edgekit, tmp_path):
    """The first model always says 20: a spread of nothing, so that 5% of 20 is what may differ."""
    write_class_folders(tmp_path / "set")
    photos = tmp_path / "set" / "red"
    agreements = []
    for number in (20.5, 30.0):
        regressor_model(tmp_path / "one.tflite", [20.0])
        regressor_model(tmp_path / "two.tflite", [number])
        document = edgekit.ok("compare", "one.tflite", "two.tflite", photos, "--json").json
        agreements.append((document["agreement"], document["pictures"]))
    assert agreements == [(1.0, 2), (0.0, 2)]


@pytest.mark.parametrize(
    ("changed", "remark"),
    [
        ({"labels": ("dark", "red", "blue", "green")}, "their labels differ"),
        ({"decoder": "probabilities"}, "one is for classification (logits), the other for classification"),
    ],
)
def test_answers_that_mean_different_things_are_not_compared(edgekit, pair, tmp_path, changed, remark):
    spec = brightness_model(tmp_path / "other.tflite", labels=changed.get("labels", ("dark", "red", "green", "blue")))
    if "decoder" in changed:
        task = dataclasses.replace(spec.task, decoder=changed["decoder"])
        (tmp_path / "other.json").write_text(dumps(dataclasses.replace(spec, task=task)))
    write_class_folders(tmp_path / "set")
    document = edgekit.ok("compare", pair[0], "other.tflite", tmp_path / "set" / "red", "--json").json
    assert document["agreement"] is None
    assert remark in document["remark"]


def test_detectors_that_see_other_parts_of_a_picture_are_not_compared(edgekit, tmp_path):
    spec = detector_model(tmp_path / "one.tflite", [[0, 0, 1, 1]], [[0.9]], ("nut",))
    detector_model(tmp_path / "two.tflite", [[0, 0, 1, 1]], [[0.9]], ("nut",))
    prep = dataclasses.replace(spec.prep, resize=Resize.LETTERBOX)
    (tmp_path / "two.json").write_text(dumps(dataclasses.replace(spec, prep=prep)))
    write_class_folders(tmp_path / "set")
    document = edgekit.ok("compare", "one.tflite", "two.tflite", tmp_path / "set" / "red", "--json").json
    assert document["remark"] == "one takes pictures by stretch, the other by letterbox"


def test_models_of_tensors_are_compared_without_pictures(edgekit, tmp_path):
    tensor_model(tmp_path / "one.tflite")
    tensor_model(tmp_path / "two.tflite")
    document = edgekit.ok("compare", "one.tflite", "two.tflite", "--json").json
    assert document["sides"][0]["partitions"]["engine"] == "litert"
    write_class_folders(tmp_path / "set")
    answer = edgekit("compare", "one.tflite", "two.tflite", tmp_path / "set" / "red")
    assert (answer.code, "takes one picture" in answer.err) == (3, True)


def test_a_folder_without_pictures_is_an_error(edgekit, pair, tmp_path):
    (tmp_path / "empty").mkdir()
    assert edgekit("compare", *pair, "empty").code == 3
