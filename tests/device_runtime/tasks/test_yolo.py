"""YOLO heads against naive decoders of their definitions, float and quantised."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import BoxUnit, ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.boxes import iou
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.placement import plan_placement

WIDTH, HEIGHT = 64, 32
QUANTISED = {"float32": (0.0, 0), "int8": (1 / 128, -128), "uint8": (1 / 200, 3), "int16": (1 / 4096, 0)}


def spec_of(decoder, shape, dtype="float32", scale=0.0, zero=0, **task):
    return ModelSpec(
        "m",
        TaskSpec(
            "pose" if decoder == "yolov8-pose" else "detection",
            decoder,
            **({"score_threshold": 0.25, "max_items": 100} | task),
        ),
        ImagePrep(WIDTH, HEIGHT),
        (TensorSpec("in", (1, HEIGHT, WIDTH, 3), "uint8"),),
        (TensorSpec("out", shape, dtype, scale, zero),),
    )


def decode(spec, tensor):
    return decoder_of(spec)([tensor], spec)


def random_head(seed, count, values, dtype):
    """Return box rows (n, values) as they are stored, what they stand for, scale and zero point.

    Boxes are few different ones, so that they overlap; scores are sparse.
    """
    rng = np.random.default_rng(seed)
    rows = rng.random((count, values)) ** 3
    rows[:, :2] = rng.integers(1, 4, (count, 2)) / 4 + rng.normal(0, 0.01, (count, 2))
    rows[:, 2:4] = rng.integers(1, 3, (count, 2)) / 8
    scale, zero = QUANTISED[dtype]
    if not scale:
        return rows.astype(np.float32), rows.astype(np.float32), scale, zero
    limits = np.iinfo(dtype)
    stored = np.clip(np.rint(rows / scale) + zero, limits.min, limits.max).astype(dtype)
    return stored, ((stored.astype(np.float32) - np.float32(zero)) * np.float32(scale)), scale, zero


def naive(boxes, scores, classes, threshold, iou_threshold=0.5):
    """Threshold and greedy suppression, one box after another; boxes x1 y1 x2 y2."""
    kept = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        rivals = [i for i in kept if classes[i] == classes[index]]
        # The same float32 overlap as under test: what is tested is which boxes meet it.
        if scores[index] >= threshold and all(
            iou(boxes[i], boxes[[index]])[0] <= np.float32(iou_threshold) for i in rivals
        ):
            kept.append(index)
    return [(int(classes[i]), float(scores[i]), boxes[i].tolist()) for i in kept]


def corners(rows):
    return np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1).astype(np.float32)


def require_same(found, wanted):
    assert found.classes.tolist() == [index for index, _, _ in wanted]
    np.testing.assert_allclose(found.scores, [score for _, score, _ in wanted], atol=1e-6)
    np.testing.assert_allclose(found.boxes, np.reshape([box for _, _, box in wanted], (-1, 4)), atol=1e-6)


heads = pytest.mark.parametrize("dtype", list(QUANTISED))
sizes = st.tuples(st.integers(0, 2**31), st.integers(1, 80), st.integers(1, 4), st.sampled_from([0.0, 0.2503, 0.6001]))


@heads
@settings(max_examples=80)
@given(sizes)
def test_a_yolov8_head_gives_what_a_naive_decoder_gives_of_its_real_values(dtype, size):
    seed, count, classes, threshold = size
    stored, real, scale, zero = random_head(seed, count, 4 + classes, dtype)
    wanted = naive(corners(real), real[:, 4:].max(axis=1), real[:, 4:].argmax(axis=1), threshold)
    spec = spec_of("yolov8", (1, 4 + classes, count), dtype, scale, zero, score_threshold=threshold)
    require_same(decode(spec, np.ascontiguousarray(stored.T)[None]), wanted)
    spec = spec_of("yolov8-transposed", (1, count, 4 + classes), dtype, scale, zero, score_threshold=threshold)
    require_same(decode(spec, stored[None]), wanted)


@heads
@settings(max_examples=80)
@given(sizes)
def test_a_yolov5_head_gives_what_a_naive_decoder_gives_of_its_real_values(dtype, size):
    seed, count, classes, threshold = size
    stored, real, scale, zero = random_head(seed, count, 5 + classes, dtype)
    real[:, 5:] = np.minimum(real[:, 5:], 1)
    scores = (real[:, 4] * real[:, 5:].max(axis=1)).astype(np.float32)
    wanted = naive(corners(real), scores, real[:, 5:].argmax(axis=1), np.float32(threshold))
    spec = spec_of("yolov5", (1, count, 5 + classes), dtype, scale, zero, score_threshold=threshold)
    require_same(decode(spec, stored[None]), wanted)


@heads
@settings(max_examples=50)
@given(sizes)
def test_boxes_that_need_no_suppression_come_by_falling_score(dtype, size):
    seed, count, _, threshold = size
    stored, real, scale, zero = random_head(seed, count, 6, dtype)
    order = [index for index in np.argsort(-real[:, 4], kind="stable") if real[index, 4] >= threshold][:7]
    spec = spec_of("yolo-end2end", (1, count, 6), dtype, scale, zero, score_threshold=threshold, max_items=7)
    found = decode(spec, stored[None])
    require_same(found, [(round(float(real[i, 5])), float(real[i, 4]), real[i, :4].tolist()) for i in order])


def test_pixels_are_counted_in_the_input_s_width_and_height():
    columns = np.array([[32, 16, 16, 8, 0.9]], np.float32).T[None]
    spec = spec_of("yolov8", (1, 5, 1), box_unit=BoxUnit.PIXEL)
    assert decode(spec, columns).boxes.tolist() == [[0.375, 0.375, 0.625, 0.625]]
    item = decode(spec, columns).items(spec, plan_placement(spec.prep, 640, 640))[0]
    assert item.box == (240, 240, 400, 400)
    rows = np.array([[[16, 8, 32, 16, 0.9, 3]]], np.float32)
    spec = spec_of("yolo-end2end", (1, 1, 6), box_unit=BoxUnit.PIXEL)
    assert decode(spec, rows).boxes.tolist() == [[0.25, 0.25, 0.5, 0.5]]


def test_a_stored_value_minus_the_zero_point_does_not_wrap():
    # 127 - -128 is 255, and -1 as int8; a threshold of -78 lies below many negative ones.
    stored = np.array([[0, 0, -64, -64, 127], [0, 0, -64, -64, -128], [64, 64, -64, -64, -70]], np.int8)
    spec = spec_of("yolov8-transposed", (1, 3, 5), "int8", 1 / 256, -128, score_threshold=0.2)
    found = decode(spec, stored[None])
    assert found.scores.tolist() == pytest.approx([255 / 256, 58 / 256])
    assert found.boxes[0].tolist() == pytest.approx([0.375, 0.375, 0.625, 0.625])


@pytest.mark.parametrize("decoder", ["yolov5", "yolov8", "yolov8-transposed", "yolo-end2end"])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_head_without_objects_gives_none(decoder, dtype):
    shape = (1, 6, 21) if decoder == "yolov8" else (1, 21, 6)
    scale, zero = QUANTISED[dtype]
    spec = spec_of(decoder, shape, dtype, scale, zero)
    found = decode(spec, np.full(shape, zero, dtype))
    assert len(found.scores) == 0
    assert found.items(spec, plan_placement(spec.prep, 100, 100)) == ()


def test_a_threshold_that_no_stored_value_reaches_finds_nothing():
    spec = spec_of("yolov8", (1, 5, 4), "int8", 1 / 256, -128, score_threshold=1.0)
    assert len(decode(spec, np.full((1, 5, 4), 127, np.int8)).scores) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 4, 5])
@pytest.mark.parametrize("decoder", ["yolov5", "yolov8", "yolov8-transposed", "yolo-end2end"])
def test_values_that_are_no_numbers_are_an_error_wherever_they_are(decoder, place, value):
    rows = np.zeros((21, 6), np.float32)
    rows[13, place] = value
    tensor = rows.T if decoder == "yolov8" else rows
    with pytest.raises(ModelError, match="output out: expected finite numbers"):
        decode(spec_of(decoder, (1, *tensor.shape)), tensor[None])


def test_no_more_than_the_wanted_number_of_objects_is_kept_the_best_ones():
    columns = np.zeros((5, 40), np.float32)
    columns[0], columns[1] = np.arange(40) / 40, 0.5
    columns[2:4] = 0.02
    columns[4] = np.linspace(0.3, 0.9, 40)
    found = decode(spec_of("yolov8", (1, 5, 40), max_items=3), columns[None])
    assert found.scores.tolist() == pytest.approx(columns[4, :-4:-1].tolist())


def test_thousands_of_boxes_above_the_threshold_are_cut_to_the_best_before_they_are_compared():
    columns = np.full((5, 5000), 0.5, np.float32)
    columns[2:4] = 0.001
    columns[0] = np.linspace(0, 1, 5000)
    columns[4] = 0.3
    columns[4, 4321] = 0.8
    found = decode(spec_of("yolov8", (1, 5, 5000), max_items=10), columns[None])
    assert (len(found.scores), found.scores[0]) == (10, pytest.approx(0.8))


def test_of_boxes_that_all_stand_apart_no_more_than_a_thousand_are_looked_at():
    columns = np.full((5, 1500), 0.5, np.float32)
    columns[2:4] = 0.0001
    columns[0] = np.linspace(0, 1, 1500)
    assert len(decode(spec_of("yolov8", (1, 5, 1500), max_items=1500), columns[None]).scores) == 1000


def test_a_class_score_above_one_counts_as_one():
    rows = np.array([[[0.5, 0.5, 0.1, 0.1, 0.3, 1.5], [0.1, 0.1, 0.1, 0.1, 0.2, 1.5]]], np.float32)
    assert decode(spec_of("yolov5", (1, 2, 6)), rows).scores.tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("decoder", "shape", "reads"),
    [
        ("yolov5", (1, 25200, 5), r"1 output \(1, n, 5 \+ classes\)"),
        ("yolov8", (1, 4, 8400), r"1 output \(1, 4 \+ classes, n\)"),
        ("yolov8-transposed", (8400, 84), r"1 output \(1, n, 4 \+ classes\)"),
        ("yolo-end2end", (1, 300, 7), r"1 output \(1, n, 6\)"),
    ],
)
def test_outputs_that_are_no_such_head_are_named(decoder, shape, reads):
    with pytest.raises(ModelError, match=f"decoder {decoder}: expected {reads}, got 1: "):
        decoder_of(spec_of(decoder, shape))


def test_scores_that_share_a_coarse_tensor_with_pixels_are_refused():
    with pytest.raises(ModelError, match=r"steps of 2\.5: coordinates in pixels leave no room for scores"):
        decoder_of(spec_of("yolov8", (1, 84, 8400), "int8", 2.5, -128, box_unit=BoxUnit.PIXEL))
    assert decoder_of(spec_of("yolov8", (1, 84, 8400), "int16", 0.02, 0, box_unit=BoxUnit.PIXEL))
