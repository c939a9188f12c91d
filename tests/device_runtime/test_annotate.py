"""Pictures of frames with what was found drawn in, whole and small."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.annotate import Annotator, shrink_prediction
from device_runtime.contract.model import Colour, ImagePrep, Resize
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.vision.frame import Frame
from device_runtime.vision.placement import PlacedMask, plan_placement
from tests.support.live_pages import make_frame, make_prediction

side = st.integers(16, 2000)


@given(side, side, side, side)
def test_boxes_and_points_keep_their_place(width, height, small_width, small_height):
    item = Item(0, "a", 0.9, (0.0, 0.0, float(width), float(height)), ((width / 2, height / 4, 0.5),))
    picture = np.zeros((small_height, small_width, 3), np.uint8)
    small = shrink_prediction(Prediction(0, 0, (item,)), (width, height), picture).items[0]
    assert small.box == pytest.approx((0, 0, small_width, small_height))
    assert small.points[0] == pytest.approx((small_width / 2, small_height / 4, 0.5))


@pytest.mark.parametrize("resize", list(Resize))
def test_a_mask_is_brought_to_the_pictures_size(resize):
    prep = ImagePrep(96, 96, Colour.RGB, resize)
    ids = np.zeros((24, 24), np.uint8)
    ids[:, 12:] = 1
    mask = PlacedMask(ids, prep, plan_placement(prep, 1280, 960))
    picture = np.zeros((240, 320, 3), np.uint8)
    small = shrink_prediction(Prediction(0, 0, (), mask=mask), (1280, 960), picture).mask.in_frame()
    assert small.shape == (240, 320)
    whole = mask.in_frame()
    assert (small != whole[2::4, 2::4]).mean() < 0.02


class FakeMask:
    """A mask of another kind."""

    def in_frame(self):
        return np.repeat([[0, 1]], 960, axis=0).repeat(640, axis=1).astype(np.uint8)


def test_a_mask_of_another_kind_is_sampled():
    picture = np.zeros((240, 320, 3), np.uint8)
    small = shrink_prediction(Prediction(0, 0, (), mask=FakeMask()), (1280, 960), picture).mask.in_frame()
    assert (small.shape, small[100, 100], small[100, 200]) == ((240, 320), 0, 1)


@pytest.mark.parametrize("colour", [Colour.BGR, Colour.RGB, Colour.GRAY])
@pytest.mark.parametrize("width", [64, 320, 4096])
def test_the_frame_itself_is_never_drawn_on(colour, width):
    pixels = make_frame(3).pixels
    frame = Frame(pixels[..., 0].copy() if colour is Colour.GRAY else pixels, colour)
    before = frame.pixels.copy()
    picture = Annotator().small(frame, make_prediction(0), width)
    assert picture.shape[1] == min(width, frame.width)
    assert picture.any()
    assert np.array_equal(frame.pixels, before)
