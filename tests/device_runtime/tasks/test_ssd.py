"""Raw SSD heads, and scores that are still to be activated or that count a background."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import (
    BoxUnit,
    ImagePrep,
    ModelSpec,
    ScoreActivation,
    SsdAnchors,
    TaskSpec,
    TensorSpec,
)
from device_runtime.errors import ModelError
from device_runtime.tasks.anchors import anchor_boxes, relative_to
from device_runtime.tasks.registry import decoder_of

ANCHORS = SsdAnchors((16, 32), aspect_ratios=(1.0,), interpolated_aspect_ratio=0.0, reduce_lowest=False)
COUNT = 4 * 4 + 2 * 2
APART = (TensorSpec("boxes", (1, COUNT, 4), "float32"), TensorSpec("scores", (1, COUNT, 3), "float32"))


def spec_of(decoder="ssd", outputs=APART, **task):
    return ModelSpec(
        "m",
        TaskSpec(
            "detection",
            decoder,
            **({"score_threshold": 0.5, "max_items": 100, "iou_threshold": 1.0} | task),
            anchors=ANCHORS if decoder == "ssd" else None,
        ),
        ImagePrep(64, 64),
        (TensorSpec("in", (1, 64, 64, 3), "uint8"),),
        outputs,
    )


def decode(spec, *tensors):
    return decoder_of(spec)(tensors, spec)


@pytest.mark.parametrize("shape", [(1, COUNT, 4), (1, COUNT, 1, 4)])
def test_codes_are_relative_to_the_anchors(shape):
    codes, scores = np.zeros(shape, np.float32), np.zeros((1, COUNT, 3), np.float32)
    codes.reshape(-1, 4)[17] = 1, -2, 3, -4
    scores[0, 17, 2] = 0.75
    spec = spec_of(outputs=(TensorSpec("boxes", shape, "float32"), APART[1]))
    found = decode(spec, codes, scores)
    assert (found.classes.tolist(), found.scores.tolist()) == ([2], [0.75])
    wanted = relative_to(anchor_boxes(ANCHORS, 64, 64)[17:18], codes.reshape(-1, 4)[17:18], (10, 10, 5, 5))
    np.testing.assert_allclose(found.boxes, wanted, atol=1e-6)


def activated(logits, activation):
    if activation is ScoreActivation.SIGMOID:
        return 1 / (1 + np.exp(-logits))
    if activation is ScoreActivation.SOFTMAX:
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)
    return logits


@settings(max_examples=150)
@given(
    st.integers(0, 2**31),
    st.sampled_from(list(ScoreActivation)),
    st.booleans(),
    st.sampled_from([0.0, 0.3, 0.5, 0.9999, 1.0]),
    st.sampled_from([("float32", 0.0, 0), ("int8", 0.0501, 3), ("uint8", 0.0702, 128)]),
)
def test_what_is_found_are_the_classes_whose_activated_scores_reach_the_threshold(
    seed, activation, background, threshold, quantisation
):
    dtype, scale, zero = quantisation
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (1, COUNT, 3))
    if activation is ScoreActivation.NONE:
        logits = rng.random((1, COUNT, 3))
    stored = logits.astype(np.float32)
    real = stored.astype(np.float64)
    if scale:
        limits = np.iinfo(dtype)
        stored = np.clip(np.rint(logits / scale) + zero, limits.min, limits.max).astype(dtype)
        real = (stored.astype(np.float64) - zero) * scale
    scores = activated(real, activation)[0]
    outputs = (APART[0], TensorSpec("scores", (1, COUNT, 3), dtype, scale, zero))
    spec = spec_of(outputs=outputs, score_activation=activation, background=background, score_threshold=threshold)
    found = decode(spec, np.zeros((1, COUNT, 4), np.float32), stored)
    first = int(background)
    sure = [(row, c - first) for row in range(COUNT) for c in range(first, 3) if scores[row, c] >= threshold + 1e-5]
    possible = sum(bool(scores[row, c] >= threshold - 1e-5) for row in range(COUNT) for c in range(first, 3))
    assert len(sure) <= len(found.scores) <= possible
    if len(sure) == possible:
        wanted = sorted((min(scores[row, c + first], 1.0) for row, c in sure), reverse=True)
        np.testing.assert_allclose(found.scores, wanted, atol=1e-5)
        assert sorted(found.classes.tolist()) == sorted(c for _, c in sure)


def test_boxes_beside_scores_may_be_counted_in_pixels():
    boxes, scores = np.zeros((1, COUNT, 4), np.float32), np.zeros((1, COUNT, 3), np.float32)
    boxes[0, 3], scores[0, 3, 1] = (16, 32, 48, 64), 0.9
    found = decode(spec_of("boxes-scores", box_unit=BoxUnit.PIXEL), boxes, scores)
    assert found.boxes.tolist() == [[0.25, 0.5, 0.75, 1.0]]


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_an_error(output, value):
    tensors = [np.zeros((1, COUNT, 4), np.float32), np.ones((1, COUNT, 3), np.float32)]
    tensors[output][0, 5, 2] = value
    with pytest.raises(ModelError, match=f"output {APART[output].name}: expected finite numbers"):
        decode(spec_of(), *tensors)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_that_are_no_numbers_are_an_error(value):
    boxes, scores = np.zeros((1, COUNT, 4), np.float32), np.zeros((1, COUNT, 3), np.float32)
    boxes[0, 5, 2], scores[0, 5, 1] = value, 0.9
    with pytest.raises(ModelError, match="output boxes: expected finite numbers"):
        decode(spec_of("boxes-scores"), boxes, scores)


def test_anchors_of_another_head_are_an_error_that_tells_both_numbers():
    outputs = (TensorSpec("boxes", (1, 21, 4), "float32"), TensorSpec("scores", (1, 21, 3), "float32"))
    with pytest.raises(ModelError, match=r"expected 20 boxes, as many as there are anchors \(strides 16, 32 with 1, 1"):
        decoder_of(spec_of(outputs=outputs))


def test_options_of_other_heads_are_refused():
    with pytest.raises(ValueError, match="anchors: expected some"):
        TaskSpec("detection", "ssd")
    with pytest.raises(ValueError, match="anchors: expected none for yolov8"):
        TaskSpec("detection", "yolov8", anchors=ANCHORS)
    with pytest.raises(ValueError, match="score_activation of yolov8: expected one of none, got sigmoid"):
        TaskSpec("detection", "yolov8", score_activation=ScoreActivation.SIGMOID)
    with pytest.raises(ValueError, match="score_activation of heatmaps: expected one of none, sigmoid, got softmax"):
        TaskSpec("pose", "heatmaps", score_activation=ScoreActivation.SOFTMAX)
    with pytest.raises(ValueError, match="background: expected false for yolov5"):
        TaskSpec("detection", "yolov5", background=True)


def test_labels_go_with_the_classes_less_the_background():
    shapes = [(1, 1917, 4), (1, 1917, 91)]
    assert TaskSpec("detection", "ssd", anchors=ANCHORS).label_count(shapes) == 91
    assert TaskSpec("detection", "ssd", background=True, anchors=ANCHORS).label_count(shapes) == 90
    assert TaskSpec("detection", "boxes-scores", background=True, label_offset=1).label_count(shapes) == 91
