"""Golden answers of models that others made, on photos."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from converters.tflite_reader import read_tflite
from device_runtime.contract.model import Resize, SsdAnchors, TaskSpec, TensorSpec
from device_runtime.predictor import Predictor
from device_runtime.tasks.anchors import anchor_boxes
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.picture import read_picture

pytestmark = pytest.mark.shared

COCO = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip


@pytest.fixture
def detector(shared_data):
    return shared_data / "models" / "coco_ssd_mobilenet_v1_quant.tflite"


@pytest.fixture
def animals(shared_data):
    return read_picture(shared_data / "images" / "cats_and_dogs.jpg")


def test_an_ssd_finds_the_cats_and_dogs(detector, animals):
    spec = describe_tflite(detector, PrepOptions(), TaskOptions(score_threshold=0.5), None)
    items = Predictor(detector, spec).predict(animals).items
    assert [item.label for item in items] == ["cat", "cat", "cat", "dog"]
    assert items[0].box == pytest.approx((55, 397, 447, 596), abs=15)
    assert items[3].box == pytest.approx((390, 198, 666, 600), abs=15)


def raw_head(model, tensor):
    """Return the inputs of a model's post-processing operator: codes, scores, anchors; each with what it stands for."""
    interpreter = Interpreter(str(model), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    operator = read_tflite(model).main.operators[-1]
    found = []
    for index in operator.inputs:
        scale, zero = details[index]["quantization"]
        tensor = interpreter.get_tensor(index)
        shape = tensor.shape if tensor.ndim > 2 else (1, *tensor.shape)
        found.append((tensor, TensorSpec(details[index]["name"], shape, tensor.dtype.name, scale, zero)))
    return found


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
def test_its_raw_head_decodes_to_what_its_post_processing_operator_gives(detector, animals):
    spec = describe_tflite(detector, PrepOptions(), TaskOptions(score_threshold=0.3), None)
    predictor = Predictor(detector, spec)
    answer = predictor.answer(animals)
    (codes, codes_info), (scores, scores_info), (anchors, anchors_info) = raw_head(
        detector, predictor.prepared(animals)
    )
    stored = (anchors.astype(np.float32) - anchors_info.zero_point) * (anchors_info.scale or 1)
    np.testing.assert_allclose(
        anchor_boxes(SsdAnchors(), 300, 300)[:, [1, 0, 3, 2]], stored, atol=1.01 * (anchors_info.scale or 1e-5)
    )
    task = TaskSpec("detection", "ssd", 0.3, 100, iou_threshold=0.6, background=True, anchors=SsdAnchors())
    raw = spec.__class__("raw", task, spec.prep, spec.inputs, (codes_info, scores_info))
    found = decoder_of(raw)([codes, scores], raw)
    # The operator suppresses across classes, so it finds fewer: each of them is found here, as sure and as large.
    assert len(answer.found.scores) >= 4
    for index, score, box in zip(answer.found.classes, answer.found.scores, answer.found.boxes, strict=True):
        same = (found.classes == index) & np.isclose(found.scores, score, atol=1e-5)
        # Its anchors are quantised, ours are not.
        assert np.abs(found.boxes[same] - box).max(axis=1).min() < 0.02


def test_movenet_finds_the_points_of_a_squatting_man(shared_data, tmp_path):
    model = shared_data / "models" / "movenet_single_pose_lightning_ptq.tflite"
    labels = tmp_path / "points.txt"
    labels.write_text("\n".join(COCO))
    spec = describe_tflite(model, PrepOptions(resize=Resize.LETTERBOX), TaskOptions(), labels)
    assert (spec.task.name, spec.task.decoder) == ("pose", "movenet")
    (item,) = Predictor(model, spec).predict(read_picture(shared_data / "images" / "squat.bmp")).items
    assert item.label == "person"
    assert item.score > 0.6
    points = {spec.label_of(index): point[:2] for index, point in enumerate(item.points)}
    # Read off the picture, 500 x 610 px.
    for name, place in {
        "nose": (298, 205),
        "right shoulder": (217, 250),
        "right hip": (137, 368),
        "right ankle": (165, 547),
        "left ankle": (260, 507),
    }.items():
        assert points[name] == pytest.approx(place, abs=15), name
