"""Drawing never fails, whatever was found and however small the picture is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import ImagePrep
from device_runtime.contract.prediction import Item, Prediction, RuleEvent
from device_runtime.contract.service import Region
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


def blank(width=320, height=240):
    return np.zeros((height, width, 3), np.uint8)


def test_a_box_is_drawn_on_its_edges_and_named_above():
    picture = blank()
    draw(picture, Prediction(0, 0, (Item(0, "cat", 0.9, (100, 100, 200, 180)),)))
    assert picture[140, [100, 101, 199, 200]].any(axis=1).all()
    assert picture[[100, 180], 150].any(axis=1).all()
    assert not picture[105:175, 105:195].any()
    assert picture[80:97, 100:140].any()


def test_a_track_number_is_a_part_of_the_name():
    without, with_number, with_other = blank(), blank(), blank()
    draw(without, Prediction(0, 0, (Item(0, "cat", 0.9, (50, 100, 200, 180)),)))
    draw(with_number, Prediction(0, 0, (Item(0, "cat", 0.9, (50, 100, 200, 180), track=3),)))
    draw(with_other, Prediction(0, 0, (Item(0, "cat", 0.9, (50, 100, 200, 180), track=8),)))
    assert (without != with_number).any()
    assert (with_number != with_other).any()


def person(*scores, **more):
    """Return a pose whose 17 points stand side by side."""
    points = tuple((20.0 + 15 * index, 100.0 + 60 * (index % 2), score) for index, score in enumerate(scores))
    return Item(0, "person", 0.9, (20.0, 100.0, 260.0, 160.0), points, **more)


def test_points_that_are_seen_are_drawn_with_the_limbs_between_them():
    picture = blank()
    draw(picture, Prediction(0, 0, (person(*[0.9] * 17),)))
    assert picture[100, 20].any()  # the nose
    assert picture[160, 35].any()  # the left eye
    assert picture[130, 27].any()  # halfway
    hidden = blank()
    draw(hidden, Prediction(0, 0, (person(0.9, *[0.1] * 16),)))
    assert hidden[100, 20].any()
    assert not hidden[125:, :].any()


def test_points_of_other_things_than_bodies_have_no_limbs():
    picture = blank()
    draw(picture, Prediction(0, 0, (person(0.9, 0.9),)))
    assert picture[160, 35].any()
    assert not picture[130, 15:40].any()


def test_two_persons_have_two_colours_and_keep_them_by_their_track():
    one, other, same = blank(), blank(), blank()
    draw(one, Prediction(0, 0, (person(*[0.9] * 17, track=1),)))
    draw(other, Prediction(0, 0, (person(*[0.9] * 17, track=2),)))
    draw(same, Prediction(0, 0, (person(*[0.9] * 17, track=1),)))
    assert (one[100, 20] != other[100, 20]).any()
    assert (one == same).all()


def test_a_region_is_outlined_and_named():
    picture = blank()
    regions = {"door": Region(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)))}
    draw(picture, Prediction(0, 0, ()), regions)
    assert (picture[[60, 180], 160] == 255).all()
    assert (picture[120, [80, 240]] == 255).all()
    assert picture[62:85, 82:130].any()
    assert not picture[100:170, 100:230].any()


def test_a_region_of_the_whole_frame_lies_in_the_picture():
    picture = blank()
    draw(picture, Prediction(0, 0, ()), {"all": Region(((0, 0), (640, 0), (640, 480), (0, 480)), (640, 480))})
    assert picture[120, [0, 319]].any(axis=1).all()
    assert picture[[0, 239], 160].any(axis=1).all()


def test_the_rules_of_events_are_told():
    events = tuple(
        RuleEvent("1", rule, "begin", "2026-01-01T00:00:00Z", 0, Item(0, "cat", 0.9)) for rule in ("entry", "exit")
    )
    one, both = blank(), blank()
    draw(one, Prediction(0, 0, (), events=events[:1]))
    draw(both, Prediction(0, 0, (), events=events))
    assert one[5:30, 200:].any()
    assert not one[:, :60].any()
    assert both[32:54, 200:].any()


def test_a_label_that_was_written_before_looks_the_same_again():
    first, again = blank(), blank()
    prediction = Prediction(0, 0, (Item(5, "cat", 0.9, (100, 100, 200, 180)),))
    draw(first, prediction)
    draw(again, prediction)
    assert (first == again).all()


def test_the_best_class_is_written_when_there_are_no_boxes():
    plain, named = np.zeros((2, 120, 160, 3), np.uint8)
    draw(plain, Prediction(0, 0, ()))
    draw(named, Prediction(0, 0, (Item(3, "three", 0.9),)))
    assert not plain.any()
    assert named[:40].any()
