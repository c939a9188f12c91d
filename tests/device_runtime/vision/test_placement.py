"""Points between the input and the frame."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.model import ImagePrep, Resize
from device_runtime.vision.placement import plan_placement

sides = st.integers(8, 700)


@given(sides, sides, sides, sides, st.sampled_from(list(Resize)), st.integers(0, 2**31))
def test_points_go_where_corners_of_boxes_go_and_keep_their_scores(width, height, across, down, resize, seed):
    prep = ImagePrep(width, height, resize=resize, crop_fraction=0.8 if resize is Resize.CENTER_CROP else 1.0)
    place = plan_placement(prep, across, down)
    points = np.random.default_rng(seed).random((3, 2, 3)).astype(np.float32) * 1.2 - 0.1
    boxes = points[..., :2].reshape(3, 4)
    mapped = place.points_to_frame(points, prep)
    np.testing.assert_array_equal(mapped[..., :2].reshape(3, 4), place.boxes_to_frame(boxes, prep))
    np.testing.assert_array_equal(mapped[..., 2], points[..., 2])
    assert mapped[..., :2].min() >= 0
    assert (mapped[..., :2] <= (across, down)).all()


def test_points_of_a_letterboxed_frame_leave_the_padding_out():
    prep = ImagePrep(100, 100, resize=Resize.LETTERBOX)
    place = plan_placement(prep, 400, 200)  # 100 x 50, from y = 25 on
    points = np.array([[[0.5, 0.5, 0.9], [0.0, 0.25, 0.5], [1.0, 0.75, 0.1], [0.5, 0.1, 0.2]]], np.float32)
    wanted = [[[200, 100, 0.9], [0, 0, 0.5], [400, 200, 0.1], [200, 0, 0.2]]]
    np.testing.assert_allclose(place.points_to_frame(points, prep), wanted, atol=1e-4)
    assert points[0, 0, 0] == np.float32(0.5)  # what came in is left alone
