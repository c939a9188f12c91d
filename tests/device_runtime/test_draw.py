"""Drawing never fails, whatever was found and however small the picture is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import ImagePrep
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.draw import draw
from device_runtime.vision.placement import PlacedMask, plan_placement

numbers = st.floats(-50, 700)
items = st.builds(
    Item,
    st.integers(0, 2000),
    st.text(max_size=30),
    st.none() | st.floats(0, 1),
    st.none() | st.tuples(numbers, numbers, numbers, numbers),
    st.none() | st.lists(st.tuples(numbers, numbers, st.floats(0, 1)), max_size=18).map(tuple),
    st.none() | st.integers(1, 10**6),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(allow_nan=False),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(items, max_size=6), st.integers(1, 640), st.integers(1, 480))
def test_anything_can_be_drawn_into_any_picture(found, width, height):
    picture = np.zeros((height, width, 3), np.uint8)
    draw(picture, Prediction(1, 2, tuple(found), {"invoke": 3.0}))
    assert picture.shape == (height, width, 3)


def masked(ids, *items, size=(64, 64)):
    """Return a grey picture with the mask ``ids`` drawn in."""
    picture = np.full((*size, 3), 128, np.uint8)
    prep = ImagePrep(64, 64)
    mask = PlacedMask(np.array(ids, np.uint8), prep, plan_placement(prep, size[1], size[0]))
    draw(picture, Prediction(0, 0, items, mask=mask))
    return picture


def test_the_pixels_of_a_class_are_tinted_and_those_of_the_background_are_not():
    picture = masked([[0, 3]], Item(0, "background", area=0.5), Item(3, "bird", area=0.5), size=(64, 200))
    assert (picture[40:55, 105:195] == picture[50, 150]).all()
    assert (picture[50, 150] != 128).any()
    assert (picture[40:55, :95] == 128).all()


def test_only_the_classes_of_the_items_are_tinted():
    picture = masked([[1, 2]], Item(1, "road", area=0.5), size=(64, 200))
    assert (picture[50, 50] != 128).any()
    assert (picture[40:55, 105:195] == 128).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 255), min_size=3, max_size=3), min_size=1, max_size=4),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
)
def test_any_mask_can_be_drawn_into_any_picture(ids, size):
    items = [Item(index, str(index), area=0.004) for index in sorted({one for row in ids for one in row})]
    assert masked(ids, *items, size=size).shape == (*size, 3)


def test_more_lines_than_fit_are_counted():
    many = [Item(index, "name", value=1.0) for index in range(30)]
    few, all_of_them = np.zeros((2, 120, 160, 3), np.uint8)
    draw(few, Prediction(0, 0, tuple(many[:10])))
    draw(all_of_them, Prediction(0, 0, tuple(many)))
    assert (few[:40] == all_of_them[:40]).all()
    assert (few != all_of_them).any()  # "and 7 more" is not "and 27 more"


def test_the_best_class_is_written_when_there_are_no_boxes():
    plain, named = np.zeros((2, 120, 160, 3), np.uint8)
    draw(plain, Prediction(0, 0, ()))
    draw(named, Prediction(0, 0, (Item(3, "three", 0.9),)))
    assert not plain.any()
    assert named[:40].any()
