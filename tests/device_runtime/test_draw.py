"""Drawing never fails, whatever was found and however small the picture is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.prediction import Item, Prediction
from device_runtime.draw import draw

numbers = st.floats(-50, 700)
items = st.builds(
    Item,
    st.integers(0, 2000),
    st.text(max_size=30),
    st.floats(0, 1),
    st.none() | st.tuples(numbers, numbers, numbers, numbers),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(items, max_size=6), st.integers(1, 640), st.integers(1, 480))
def test_anything_can_be_drawn_into_any_picture(found, width, height):
    picture = np.zeros((height, width, 3), np.uint8)
    draw(picture, Prediction(1, 2, tuple(found), {"invoke": 3.0}))
    assert picture.shape == (height, width, 3)


def test_the_best_class_is_written_when_there_are_no_boxes():
    plain, named = np.zeros((2, 120, 160, 3), np.uint8)
    draw(plain, Prediction(0, 0, ()))
    draw(named, Prediction(0, 0, (Item(3, "three", 0.9),)))
    assert not plain.any()
    assert named[:40].any()
