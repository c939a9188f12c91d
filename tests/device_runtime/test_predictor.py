"""A model from frames to predictions, on both engines."""

import dataclasses

import numpy as np
import pytest

from device_runtime.contract.model import Colour, ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.predictor import Predictor
from device_runtime.vision.frame import Frame
from device_runtime.vision.picture import read_picture
from tests.support.tflite import brightness_model, detector_model


def grey(value=0, colour=(0, 0, 0)):
    return Frame(np.full((48, 64, 3), np.array(colour, np.uint8) + np.uint8(value)), Colour.RGB, index=7)


def test_a_prediction_names_its_frame_its_classes_and_its_times(tmp_path, engine):
    spec = brightness_model(tmp_path / "m.tflite")
    prediction = Predictor(tmp_path / "m.tflite", spec, engine).predict(grey(colour=(10, 200, 30)))
    assert [item.label for item in prediction.items] == ["green", "dark", "blue", "red"]
    assert prediction.frame_index == 7
    assert set(prediction.timings_ms) == {"capture", "prepare", "invoke", "decode", "total"}
    # softmax of 0.25 and the means of the channels
    logits = np.array([0.25, 10 / 255, 200 / 255, 30 / 255])
    expected = np.exp(logits) / np.exp(logits).sum()
    assert [item.score for item in prediction.items] == pytest.approx(np.sort(expected)[::-1].tolist(), abs=1e-6)


def test_bgr_and_rgb_frames_give_the_same_answer(tmp_path, engine):
    spec = brightness_model(tmp_path / "m.tflite")
    predictor = Predictor(tmp_path / "m.tflite", spec, engine)
    frame = grey(colour=(10, 200, 30))
    other = Frame(np.ascontiguousarray(frame.pixels[:, :, ::-1]), Colour.BGR)
    assert predictor.predict(frame).items == predictor.predict(other).items


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"outputs": (TensorSpec("logits", (1, 5), "float32"),), "labels": ()},
            r"output logits: the spec says \[1, 5\]",
        ),
        ({"outputs": (TensorSpec("logits", (1, 4), "uint8", 0.5),)}, "the model has .* float32"),
        ({"outputs": (TensorSpec("logits", (1, 4), "float32", 0.5),)}, "scale 0.5 .* scale 0 "),
        ({"outputs": (TensorSpec("a", (1, 4), "float32"), TensorSpec("b", (1, 4), "float32"))}, "the spec says 2"),
    ],
)
def test_a_spec_of_another_model_is_refused(tmp_path, change, message):
    spec = dataclasses.replace(brightness_model(tmp_path / "m.tflite"), **change)
    with pytest.raises(ModelError, match=message):
        Predictor(tmp_path / "m.tflite", spec)


def test_a_prepared_input_is_checked_before_it_runs(tmp_path):
    predictor = Predictor(tmp_path / "m.tflite", brightness_model(tmp_path / "m.tflite"))
    with pytest.raises(ModelError, match=r"expected \[1, 8, 8, 3\] float32, got \[1, 8, 8, 3\] float64"):
        predictor.run(np.zeros((1, 8, 8, 3)))


def test_running_what_was_prepared_is_what_predicting_does(tmp_path, engine):
    predictor = Predictor(tmp_path / "m.tflite", brightness_model(tmp_path / "m.tflite"), engine)
    frame = grey(colour=(90, 20, 30))
    direct = predictor.answer(frame)
    outputs = predictor.run(predictor.prepared(frame))
    np.testing.assert_array_equal(outputs[0], direct.outputs[0])
    assert predictor.decode(outputs).classes.tolist() == direct.found.classes.tolist()


def test_a_detector_answers_in_frame_pixels_of_any_size(tmp_path, engine):
    spec = detector_model(tmp_path / "m.tflite", [[0.25, 0.5, 0.5, 1.0]], [[0.9]], ("part",))
    predictor = Predictor(tmp_path / "m.tflite", spec, engine)
    for width, height in ((64, 48), (1, 1), (4000, 30)):
        frame = Frame(np.zeros((height, width, 3), np.uint8), Colour.RGB)
        box = predictor.predict(frame).items[0].box
        assert box == pytest.approx((0.25 * width, 0.5 * height, 0.5 * width, height), abs=1e-3)


@pytest.mark.shared
def test_an_imagenet_classifier_knows_most_photos(shared_data):
    labels = (shared_data / "labels" / "imagenet_labels.txt").read_text().splitlines()
    spec = ModelSpec(
        "mobilenet-v2",
        TaskSpec("classification", "probabilities"),
        ImagePrep(224, 224, mean=(128.0,), std=(128.0,)),
        (TensorSpec("input", (1, 224, 224, 3), "uint8", 1 / 128, 128),),
        (TensorSpec("output", (1, 1001), "uint8", 1 / 256, 0),),
        tuple(labels),
    )
    predictor = Predictor(shared_data / "models" / "mobilenet_v2_1.0_224_quant.tflite", spec, "litert")
    assert predictor.preparer.straight
    photos = sorted((shared_data / "images" / "imagenet100").iterdir())
    right = sum(predictor.predict(read_picture(photo)).items[0].index == int(photo.name[:4]) + 1 for photo in photos)
    assert right >= 80  # 85 of 100 when this was written; the photos are the easy ones of their classes
