"""Pose heads against their definitions, and their points in the frame."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import BoxUnit, ImagePrep, ModelSpec, Resize, ScoreActivation, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.pose import SEEN, box_around
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.placement import plan_placement

WIDTH, HEIGHT = 64, 32


def spec_of(decoder, *outputs, labels=(), resize=Resize.STRETCH, **task):
    return ModelSpec(
        "m",
        TaskSpec("pose", decoder, **({"score_threshold": 0.3, "max_items": 10} | task)),
        ImagePrep(WIDTH, HEIGHT, resize=resize),
        (TensorSpec("in", (1, HEIGHT, WIDTH, 3), "uint8"),),
        outputs,
        labels,
    )


def decode(spec, *tensors):
    return decoder_of(spec)(tensors, spec)


def test_the_points_of_one_pose_are_x_y_score_and_its_score_is_their_mean():
    spec = spec_of("movenet", TensorSpec("out", (1, 1, 3, 3), "float32"))
    found = decode(spec, np.array([[[[0.1, 0.2, 0.9], [0.5, 0.6, 0.7], [0.9, 0.0, 0.1]]]], np.float32))
    np.testing.assert_allclose(found.points, [[[0.2, 0.1, 0.9], [0.6, 0.5, 0.7], [0.0, 0.9, 0.1]]], atol=1e-6)
    assert found.scores.tolist() == pytest.approx([1.7 / 3])
    # The point that is not seen does not widen the box.
    np.testing.assert_allclose(found.boxes, [[0.2, 0.1, 0.6, 0.5]], atol=1e-6)


def test_a_pose_below_the_threshold_is_none():
    spec = spec_of("movenet", TensorSpec("out", (1, 1, 2, 3), "uint8", 1 / 255, 0))
    tensor = np.full((1, 1, 2, 3), 70, np.uint8)
    found = decode(spec, tensor)
    assert (found.classes.shape, found.points.shape, found.boxes.shape) == ((0,), (0, 2, 3), (0, 4))
    assert found.items(spec, plan_placement(spec.prep, 50, 50)) == ()
    assert len(decode(spec, tensor + np.uint8(30)).scores) == 1


def test_an_item_is_a_person_with_its_points_in_frame_pixels():
    spec = spec_of(
        "movenet", TensorSpec("out", (1, 1, 2, 3), "float32"), labels=("nose", "tail"), resize=Resize.LETTERBOX
    )
    # A square frame lies in the middle half of the 64 x 32 input; what is outside is clipped.
    tensor = np.array([[[[0.5, 0.5, 0.8], [0.25, 0.1, 0.6]]]], np.float32)
    (item,) = decode(spec, tensor).items(spec, plan_placement(spec.prep, 100, 100))
    assert (item.label, item.index, item.score) == ("person", 0, pytest.approx(0.7))
    assert item.points == (pytest.approx((50, 50, 0.8)), pytest.approx((0, 25, 0.6)))
    assert item.box == pytest.approx((0, 25, 50, 50))


def multipose(*rows):
    """Return the tensor of rows (points y x score, box y1 x1 y2 x2, score)."""
    return np.array([[[*np.reshape(points, -1), *box, score] for points, box, score in rows]], np.float32)


def test_several_poses_have_boxes_and_scores_of_their_own():
    tensor = multipose(
        ([(0.1, 0.2, 0.9)], (0.0, 0.1, 0.5, 0.6), 0.4),
        ([(0.9, 0.9, 0.9)], (0.0, 0.0, 0.1, 0.1), 0.1),
        ([(0.3, 0.4, 0.5)], (0.2, 0.3, 0.4, 0.5), 0.8),
    )
    spec = spec_of("movenet-multipose", TensorSpec("out", tensor.shape, "float32"))
    found = decode(spec, tensor)
    assert found.scores.tolist() == pytest.approx([0.8, 0.4])
    np.testing.assert_allclose(found.points, [[[0.4, 0.3, 0.5]], [[0.2, 0.1, 0.9]]], atol=1e-6)
    np.testing.assert_allclose(found.boxes, [[0.3, 0.2, 0.5, 0.4], [0.1, 0.0, 0.6, 0.5]], atol=1e-6)
    assert len(decode(spec_of("movenet-multipose", spec.outputs[0], max_items=1), tensor).scores) == 1


@settings(max_examples=80)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 4), st.booleans(), st.booleans())
def test_poses_of_a_yolo_head_are_those_of_the_best_boxes(seed, count, points, quantised, pixels):
    rng = np.random.default_rng(seed)
    unit = np.array([WIDTH, HEIGHT]) if pixels else np.ones(2)
    rows = rng.random((count, 5 + 3 * points))
    rows[:, :2] = np.stack([np.arange(count) / count, np.full(count, 0.5)], axis=1) * unit
    rows[:, 2:4] = np.array([0.5 / count, 0.5]) * unit  # side by side: none suppresses another
    rows[:, 5:].reshape(count, points, 3)[..., :2] *= unit
    assume(np.abs(rows[:, 4] - 0.3).min() > 0.004)  # quantised, it may lie on the threshold's other side
    scale, zero, dtype = (unit.max() / 30000, -100, "int16") if quantised else (0.0, 0, "float32")
    tensor = (np.rint(rows / scale) + zero if quantised else rows).astype(dtype).T[None]
    output = TensorSpec("out", tensor.shape, dtype, scale, zero)
    spec = spec_of("yolov8-pose", output, max_items=50, box_unit=BoxUnit.PIXEL if pixels else BoxUnit.FRACTION)
    found = decode(spec, np.ascontiguousarray(tensor))
    order = [i for i in np.argsort(-rows[:, 4], kind="stable") if rows[i, 4] >= 0.3]
    np.testing.assert_allclose(found.scores, rows[order, 4], atol=3e-3)
    wanted = np.sort(rows[order, 5::3] / unit[0], axis=0)
    np.testing.assert_allclose(np.sort(found.points[..., 0], axis=0), wanted, atol=3e-3)
    wanted = np.sort(rows[order, 6::3] / unit[1], axis=0)
    np.testing.assert_allclose(np.sort(found.points[..., 1], axis=0), wanted, atol=3e-3)


@pytest.mark.parametrize(("dtype", "scale", "zero"), [("float32", 0.0, 0), ("int8", 0.05, -7)])
def test_a_heat_map_has_its_point_in_the_middle_of_its_highest_cell(dtype, scale, zero):
    maps = np.full((1, 4, 8, 2), -100, dtype)
    maps[0, 1, 2, 0], maps[0, 3, 7, 1] = 100, 50
    spec = spec_of(
        "heatmaps", TensorSpec("maps", maps.shape, dtype, scale, zero), score_activation=ScoreActivation.SIGMOID
    )
    found = decode(spec, maps)
    np.testing.assert_allclose(found.points[0, :, :2], [[2.5 / 8, 1.5 / 4], [7.5 / 8, 3.5 / 4]], atol=1e-6)
    logits = (np.array([100.0, 50.0]) - zero) * (scale or 1)
    np.testing.assert_allclose(found.points[0, :, 2], 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_offsets_move_points_by_pixels_of_the_input():
    maps, offsets = np.zeros((1, 5, 9, 2), np.float32), np.zeros((1, 5, 9, 4), np.float32)
    maps[0, 2, 4, 0] = maps[0, 4, 8, 1] = 1
    offsets[0, 2, 4] = 3.2, 99, 6.4, 99
    offsets[0, 4, 8] = 99, -1.6, 99, -3.2
    spec = spec_of(
        "heatmaps", TensorSpec("maps", maps.shape, "float32"), TensorSpec("offsets", offsets.shape, "float32")
    )
    np.testing.assert_allclose(decode(spec, maps, offsets).points[0, :, :2], [[0.6, 0.6], [0.95, 0.95]], atol=1e-6)


def test_an_offset_that_is_no_number_is_an_error():
    maps, offsets = np.ones((1, 2, 2, 1), np.float32), np.full((1, 2, 2, 2), np.nan, np.float32)
    spec = spec_of(
        "heatmaps", TensorSpec("maps", maps.shape, "float32"), TensorSpec("offsets", offsets.shape, "float32")
    )
    with pytest.raises(ModelError, match="output offsets: expected finite numbers"):
        decode(spec, maps, offsets)


@pytest.mark.parametrize(
    ("decoder", "shape"), [("movenet-multipose", (1, 2, 11)), ("yolov8-pose", (1, 11, 21)), ("heatmaps", (1, 2, 2, 2))]
)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_nobody_is_found_where_nobody_is(decoder, shape, dtype):
    spec = spec_of(decoder, TensorSpec("out", shape, dtype, 1 / 256 if dtype == "int8" else 0.0, 0))
    found = decode(spec, np.zeros(shape, dtype))
    assert (len(found.points), found.points.shape[2]) == (0, 3)
    assert found.items(spec, plan_placement(spec.prep, 100, 100)) == ()


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_a_box_holds_all_points_that_are_seen_and_touches_four_of_them(seed, count):
    points = np.random.default_rng(seed).random((3, count, 3)).astype(np.float32)
    for pose, box in zip(points, box_around(points), strict=True):
        seen = pose[pose[:, 2] >= SEEN] if (pose[:, 2] >= SEEN).any() else pose
        assert box.tolist() == [*seen[:, :2].min(axis=0).tolist(), *seen[:, :2].max(axis=0).tolist()]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("decoder", "shape"),
    [
        ("movenet", (1, 1, 2, 3)),
        ("movenet-multipose", (1, 2, 11)),
        ("yolov8-pose", (1, 8, 3)),
        ("heatmaps", (1, 2, 2, 2)),
    ],
)
def test_values_that_are_no_numbers_are_an_error(decoder, shape, value):
    tensor = np.zeros(shape, np.float32)
    tensor.reshape(-1)[-1] = value
    with pytest.raises(ModelError, match="output out: expected finite numbers"):
        decode(spec_of(decoder, TensorSpec("out", shape, "float32")), tensor)


@pytest.mark.parametrize(
    ("decoder", "shape"),
    [
        ("movenet", (1, 17, 3)),
        ("movenet", (1, 1, 17, 2)),
        ("movenet-multipose", (1, 6, 55)),
        ("yolov8-pose", (1, 57, 8400)),
        ("heatmaps", (1, 9, 17)),
    ],
)
def test_outputs_that_are_no_such_head_are_named(decoder, shape):
    with pytest.raises(ModelError, match=f"decoder {decoder}: expected .*output.*, got 1: "):
        decoder_of(spec_of(decoder, TensorSpec("out", shape, "float32")))


def test_labels_name_the_points():
    output = TensorSpec("out", (1, 1, 3, 3), "float32")
    with pytest.raises(ValueError, match="labels: expected 3 for output out, got 2"):
        spec_of("movenet", output, labels=("a", "b"))
    counts = {"movenet-multipose": (1, 6, 56), "yolov8-pose": (1, 56, 8400), "heatmaps": (1, 9, 9, 17)}
    assert {TaskSpec("pose", decoder).label_count([shape]) for decoder, shape in counts.items()} == {17}
