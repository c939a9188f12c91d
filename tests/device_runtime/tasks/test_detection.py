"""Detection decoders, boxes and NMS against slow references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import BoxFormat, ImagePrep, ModelSpec, Resize, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.boxes import iou, suppress, to_xyxy
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.placement import plan_placement


def spec_of(decoder, outputs, **task):
    return ModelSpec(
        "m",
        TaskSpec("detection", decoder, **({"score_threshold": 0.5, "max_items": 100} | task)),
        ImagePrep(100, 50, resize=Resize.STRETCH),
        (TensorSpec("in", (1, 50, 100, 3), "uint8"),),
        outputs,
        ("cat", "dog"),
    )


def slow_iou(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0) * max(height, 0)
    area = sum(max(box[2] - box[0], 0) * max(box[3] - box[1], 0) for box in (one, other))
    return common / (area - common) if area - common > 0 else 0.0


boxes_of = st.lists(st.tuples(*[st.integers(0, 16)] * 4), min_size=0, max_size=12)


@given(boxes_of.filter(bool))
def test_overlap_is_intersection_over_union(rows):
    boxes = np.array(rows, np.float32) / 16
    expected = [slow_iou(boxes[0].tolist(), box.tolist()) for box in boxes]
    np.testing.assert_allclose(iou(boxes[0], boxes), expected, atol=1e-6)


@settings(max_examples=300)
@given(boxes_of, st.randoms(use_true_random=False), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(1, 12))
def test_suppression_keeps_what_no_better_box_of_its_class_covers(rows, random, threshold, count):
    boxes = np.array(rows, np.float32).reshape(-1, 4) / 16
    scores = np.array([random.choice([0.2, 0.5, 0.9]) for _ in rows], np.float32)
    classes = np.array([random.randrange(2) for _ in rows], np.int64)
    kept: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: (-scores[i], i)):
        rivals = [i for i in kept if classes[i] == classes[index]]
        # The same float32 arithmetic as under test: what is tested is the order of decisions.
        if all(iou(boxes[i], boxes[[index]])[0] <= np.float32(threshold) for i in rivals):
            kept.append(index)
    assert suppress(boxes, scores, classes, threshold, count).tolist() == kept[:count]


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(100, 400), st.sampled_from([5, 60, 400]))
def test_hundreds_of_boxes_are_suppressed_as_a_few_are(seed, number, count):
    rng = np.random.default_rng(seed)
    corners = rng.random((number, 2)) * 0.6
    boxes = np.concatenate([corners, corners + 0.1 + rng.random((number, 2)) * 0.2], axis=1).astype(np.float32)
    scores, classes = rng.permutation(number).astype(np.float32) / number, rng.integers(0, 3, number)
    kept: list[int] = []
    for index in np.argsort(-scores):
        rivals = [i for i in kept if classes[i] == classes[index]]
        if not rivals or iou(boxes[index], boxes[rivals]).max() <= np.float32(0.4):
            kept.append(int(index))
    assert suppress(boxes, scores, classes, 0.4, count).tolist() == kept[:count]


@pytest.mark.parametrize(
    ("order", "numbers"),
    [
        (BoxFormat.XYXY, [0.1, 0.2, 0.5, 0.8]),
        (BoxFormat.YXYX, [0.2, 0.1, 0.8, 0.5]),
        (BoxFormat.CXCYWH, [0.3, 0.5, 0.4, 0.6]),
    ],
)
def test_box_orders_become_one(order, numbers):
    np.testing.assert_allclose(to_xyxy(np.array([numbers], np.float32), order), [[0.1, 0.2, 0.5, 0.8]], atol=1e-6)


def test_no_candidates_give_no_items():
    outputs = (TensorSpec("b", (1, 2, 4), "float32"), TensorSpec("s", (1, 2, 2), "float32"))
    spec = spec_of("boxes-scores", outputs)
    found = decoder_of(spec)([np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 2), np.float32)], spec)
    assert found.items(spec, plan_placement(spec.prep, 200, 200)) == ()


def test_boxes_and_scores_become_named_items_in_frame_pixels():
    outputs = (TensorSpec("b", (1, 3, 4), "float32"), TensorSpec("s", (1, 3, 2), "float32"))
    spec = spec_of("boxes-scores", outputs)
    boxes = np.array([[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.52], [0.5, 0.5, 1.2, 1]]], np.float32)
    scores = np.array([[[0.9, 0.1], [0.8, 0.7], [0.1, 0.6]]], np.float32)
    items = decoder_of(spec)([boxes, scores], spec).items(spec, plan_placement(spec.prep, 200, 400))
    assert [(item.label, round(item.score, 3), item.box) for item in items] == [
        ("cat", 0.9, (0.0, 0.0, 100.0, 200.0)),
        ("dog", 0.7, pytest.approx((0.0, 0.0, 100.0, 208.0), abs=0.01)),
        ("dog", 0.6, (100.0, 200.0, 200.0, 400.0)),  # clipped to the frame
    ]


@settings(max_examples=200)
@given(st.integers(0, 2**31), st.floats(0, 1), st.sampled_from([(1 / 256, -128), (1 / 255, 0), (0.003, -5)]))
def test_thresholds_in_the_quantised_domain_choose_what_real_ones_would(seed, threshold, quantisation):
    scale, zero = quantisation
    rng = np.random.default_rng(seed)
    stored = rng.integers(-128, 128, (1, 20, 2)).astype(np.int8)
    # Boxes that never overlap, so that NMS keeps all.
    corners = np.arange(20, dtype=np.float32) / 20
    boxes = np.stack([corners, corners, corners + 0.04, corners + 0.04], axis=1)[None]
    outputs = (TensorSpec("b", (1, 20, 4), "float32"), TensorSpec("s", (1, 20, 2), "int8", scale, zero))
    spec = spec_of("boxes-scores", outputs, score_threshold=threshold)
    found = decoder_of(spec)([boxes, stored], spec)
    real = (stored[0].astype(np.float64) - zero) * scale
    sure = int((real >= threshold + 1e-5).sum())
    possible = int((real >= threshold - 1e-5).sum())
    assert sure <= len(found.scores) <= possible
    assert (found.scores >= threshold - 1e-5).all()


def postprocess(count, scores=(0.9, 0.4, 0.8), garbage=np.nan):
    outputs = (
        TensorSpec("boxes", (1, 4, 4), "float32"),
        TensorSpec("classes", (1, 4), "float32"),
        TensorSpec("scores", (1, 4), "float32"),
        TensorSpec("count", (1,), "float32"),
    )
    spec = spec_of("detection-postprocess", outputs)
    boxes = np.array([[[0, 0.1, 0.5, 0.6]] * 4], np.float32)
    tensors = [
        boxes,
        np.array([[0, 1, 1, 7]], np.float32),
        np.array([[*scores, garbage]], np.float32),
        np.array([count], np.float32),
    ]
    return spec, tensors


def test_postprocessed_detections_are_read_up_to_their_count():
    spec, tensors = postprocess(3)
    items = decoder_of(spec)(tensors, spec).items(spec, plan_placement(spec.prep, 100, 100))
    assert [(item.label, round(item.score, 2)) for item in items] == [("cat", 0.9), ("dog", 0.8)]
    assert items[0].box == pytest.approx((10, 0, 60, 50), abs=1e-3)


@pytest.mark.parametrize("count", [-1, 0, 99])
def test_a_nonsensical_count_is_bounded_by_the_tensor(count):
    spec, tensors = postprocess(count, garbage=0.0)
    found = decoder_of(spec)(tensors, spec)
    assert len(found.scores) == (2 if count > 0 else 0)


def test_values_that_are_no_numbers_are_an_error():
    spec, tensors = postprocess(3, (0.9, np.nan, 0.8))
    with pytest.raises(ModelError, match="output scores: expected finite numbers"):
        decoder_of(spec)(tensors, spec)


def test_outputs_that_do_not_fit_the_decoder_are_named():
    outputs = (TensorSpec("b", (1, 3, 4), "float32"), TensorSpec("s", (1, 5, 2), "float32"))
    with pytest.raises(ModelError, match=r"expected outputs \(1, n, 4\) and \(1, n, classes\), got"):
        decoder_of(spec_of("boxes-scores", outputs))
    with pytest.raises(ModelError, match="expected 4 outputs, got 2"):
        decoder_of(spec_of("detection-postprocess", outputs))
