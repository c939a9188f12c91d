"""Anchors against their definition, and boxes relative to them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.model import SsdAnchors
from device_runtime.tasks.anchors import anchor_boxes, relative_to

layouts = st.builds(
    SsdAnchors,
    st.lists(st.sampled_from([8, 16, 32, 50]), min_size=1, max_size=3).map(tuple),
    st.floats(0.1, 0.4),
    st.floats(0.5, 1.0),
    st.lists(st.sampled_from([1.0, 2.0, 0.5]), min_size=1, max_size=3).map(tuple),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.booleans(),
)


def slow_anchors(layout, width, height):
    """Return what multiple_grid_anchor_generator describes, one anchor after another."""
    count = len(layout.strides)
    found = []
    for layer, stride in enumerate(layout.strides):
        share = layer / (count - 1) if count > 1 else 0.0
        scale = layout.min_scale + (layout.max_scale - layout.min_scale) * share
        share = (layer + 1) / (count - 1) if count > 1 else 0.0
        following = 1.0 if layer == count - 1 else layout.min_scale + (layout.max_scale - layout.min_scale) * share
        kinds = [(scale, ratio) for ratio in layout.aspect_ratios]
        kinds += [(math.sqrt(scale * following), layout.interpolated_aspect_ratio)] * (
            layout.interpolated_aspect_ratio > 0
        )
        if layer == 0 and layout.reduce_lowest:
            kinds = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        rows, columns = -(-height // stride), -(-width // stride)
        for row in range(rows):
            for column in range(columns):
                for size, ratio in kinds:
                    side = size * min(width, height)
                    found.append(
                        (
                            (column + 0.5) / columns,
                            (row + 0.5) / rows,
                            side * math.sqrt(ratio) / width,
                            side / math.sqrt(ratio) / height,
                        )
                    )
    return found


@given(layouts, st.integers(16, 80), st.integers(16, 80))
def test_anchors_stand_layer_by_layer_cell_by_cell(layout, width, height):
    np.testing.assert_allclose(anchor_boxes(layout, width, height), slow_anchors(layout, width, height), atol=1e-6)


def test_those_of_ssd_mobilenet_are_the_default():
    boxes = anchor_boxes(SsdAnchors(), 300, 300)
    assert boxes.shape == (1917, 4)
    np.testing.assert_allclose(boxes[0], [0.5 / 19, 0.5 / 19, 0.1, 0.1], atol=1e-6)
    np.testing.assert_allclose(boxes[-1], [0.5, 0.5, math.sqrt(0.95), math.sqrt(0.95)], atol=1e-6)


def test_a_box_is_moved_and_scaled_from_its_anchor():
    anchors = np.array([[0.5, 0.4, 0.2, 0.1]], np.float32)
    codes = np.array([[10 * 0.5, -10 * 0.25, 5 * math.log(2), 5 * math.log(0.5)]], np.float32)
    # The centre moves down by half a height, left by a quarter of a width; twice as high, half as wide.
    x, y = 0.5 - 0.25 * 0.2, 0.4 + 0.5 * 0.1
    np.testing.assert_allclose(
        relative_to(anchors, codes, (10, 10, 5, 5)), [[x - 0.05, y - 0.1, x + 0.05, y + 0.1]], atol=1e-6
    )


def test_a_wild_code_gives_a_large_box_and_no_infinity():
    codes = np.array([[0, 0, 1e30, 1e30]], np.float32)
    assert np.isfinite(relative_to(np.full((1, 4), 0.5, np.float32), codes, (10, 10, 5, 5))).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"strides": ()}, "strides: expected one or more"),
        ({"strides": (0,)}, "strides"),
        ({"min_scale": 0.9, "max_scale": 0.2}, "scales: expected 0 < min_scale <= max_scale <= 1"),
        ({"aspect_ratios": (0.0,)}, "aspect_ratios"),
        ({"interpolated_aspect_ratio": -1.0}, "interpolated_aspect_ratio"),
        ({"box_scales": (0.0, 1.0, 1.0, 1.0)}, "box_scales"),
    ],
)
def test_what_is_no_layout_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SsdAnchors(**wrong)
