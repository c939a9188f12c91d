"""``edgekit convert`` from sources that are read in environments of their own, to int8 and proved."""

import statistics

import cv2
import numpy as np
import pytest

from tests.support.isolated import made, onnx_models, torch_models

__all__ = ["onnx_models", "torch_models"]

pytestmark = pytest.mark.environments

FACES = ("--task", "detection", "--decoder", "boxes-scores", "--label-offset", "1", "--score-threshold", "0.7")


@pytest.fixture
def pictures(tmp_path):
    """Twenty pictures of noise with a bright half, so that activations are spread as in photos."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for index in range(20):
        picture = generator.integers(0, 256, (24, 24, 3), np.uint8)
        picture[:, : index + 2] //= 2
        cv2.imwrite(str(folder / f"{index:02}.png"), picture)
    return folder


@pytest.mark.shared
def test_a_face_detector_keeps_its_boxes_within_2_pixels_in_int8(edgekit, shared_data):
    made("onnx")
    model, photos = shared_data / "models" / "version-slim-320.onnx", shared_data / "images" / "faces"
    found = []
    for recipe in ("float32", "static-int8"):
        given = ("-o", f"{recipe}.tflite", "--recipe", recipe, "--calibration", photos, "--normalise", "127:128")
        edgekit.ok("convert", model, *given, *FACES)
        answer = edgekit.ok("predict", f"{recipe}.tflite", *sorted(photos.iterdir()), "--json").json
        found.append([[item["box"] for item in one["items"] if item["index"] == 1] for one in answer["predictions"]])
    pairs = [(box, best_match(box, others)) for boxes, others in zip(*found, strict=True) for box in boxes]
    missed = [box for box, match in pairs if match is None]
    assert len(pairs) > 30
    assert len(missed) <= 1
    apart = [abs(a - b) for box, match in pairs if match for a, b in zip(box, match, strict=True)]
    assert statistics.median(apart) < 2


def test_an_onnx_classifier_becomes_int8(edgekit, onnx_models, pictures):
    given = ("--calibration", pictures, "--normalise", "0..1", "-o", "m.tflite")
    answer = edgekit.ok("convert", onnx_models / "classifier.onnx", *given, "--json").json
    assert answer["spec"]["inputs"][0]["dtype"] == "uint8"
    assert {"onnx2tf", "onnxruntime"} <= set(answer["spec"]["provenance"]["tools"])


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("two-inputs", {"vector": (1, 4), "image": (1, 16, 16, 3)}),
        ("recurrent", {"steps": (1, 6, 4)}),
        ("steps", {"x": (1, 6, 7)}),
    ],
)
def test_an_onnx_model_that_takes_tensors_becomes_int8(edgekit, onnx_models, tmp_path, name, shapes):
    samples = tmp_path / "samples"
    samples.mkdir()
    generator = np.random.default_rng(0)
    for index in range(30):
        values = {key: generator.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
        np.savez(samples / f"{index:02}.npz", **values)
    given = ("--calibration", samples, "--task", "regression", "-o", "m.tflite")
    answer = edgekit.ok("convert", onnx_models / f"{name}.onnx", *given, "--json").json
    assert answer["spec"]["provenance"]["recipe"] == "static-int8"


def test_a_pytorch_program_becomes_int8(edgekit, torch_models, pictures):
    given = ("--calibration", pictures, "--normalise", "0..1", "-o", "m.tflite")
    answer = edgekit.ok("convert", torch_models / "classifier.pt2", *given, "--json").json
    assert answer["spec"]["inputs"][0]["dtype"] == "uint8"
    assert {"torch", "litert-torch"} <= set(answer["spec"]["provenance"]["tools"])


def test_a_function_that_makes_a_pytorch_module_becomes_int8(edgekit, torch_models, pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(torch_models)
    given = (
        "--input-shape",
        "1x3x16x16",
        "--calibration",
        pictures,
        "--normalise",
        "0..1",
        "-o",
        tmp_path / "m.tflite",
    )
    edgekit.ok("convert", "torch_modules:classifier", *given)
    assert (tmp_path / "m.json").is_file()


def test_a_pickled_module_is_refused_with_the_safe_way(edgekit, torch_models, pictures):
    answer = edgekit("convert", torch_models / "module.pt", "--calibration", pictures)
    assert answer.code == 2
    assert "pickles, which run whatever code they hold" in answer.err
    assert "torch.export.save(torch.export.export(model.eval(), (example,))" in answer.err


def test_an_environment_is_made_ahead_of_time_and_well(edgekit, monkeypatch, tmp_path):
    made("onnx")
    monkeypatch.setenv("EDGEKIT_ENVIRONMENTS", str(tmp_path / "environments"))
    answer = edgekit.ok("doctor", "--prepare", "onnx", "--json").json
    assert [(check["name"], check["status"]) for check in answer["checks"]] == [("environment-onnx", "ok")]
    assert "not made" not in answer["checks"][0]["found"]


def best_match(box, others):
    """Return the box that overlaps most, or None when none overlaps by half."""
    found = max(others, key=lambda other: overlap(box, other), default=None)
    return found if found is not None and overlap(box, found) > 0.5 else None


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
