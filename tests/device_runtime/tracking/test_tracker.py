"""Objects keep their numbers: through crossings, dropped frames and short absences, whatever the order of items."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.cameras.belt_scene import PART_LABELS, BeltConfig, BeltScene
from device_runtime.contract.model import TaskSpec
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.errors import UsageError
from device_runtime.tracking import Tracker

DETECTION = TaskSpec("detection", "boxes-scores", score_threshold=0.1)
SIZE = (640, 480)
FPS = 30


def box_at(x, y, width=60.0, height=60.0):
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def at(seconds, *items, index=0):
    return Prediction(index, round(seconds * 1e9), items)


def tracks(prediction):
    return [item.track for item in prediction.items]


def follow(tracker, path, times, *, label=0, score=0.9):
    """Show one object at each time; return the numbers that it got."""
    found = []
    for seconds in times:
        shown = tracker.update(at(seconds, Item(label, str(label), score, box_at(*path(seconds)))), SIZE)
        found += tracks(shown)
    return found


def steps(start_s, end_s, fps=FPS):
    return [start_s + step / fps for step in range(round((end_s - start_s) * fps))]


def test_numbers_begin_with_1_and_stay_with_their_objects():
    tracker = Tracker(DETECTION)
    shown = []
    for step in range(40):
        items = [Item(0, "nut", 0.9, box_at(100 + 5 * step + 150 * number, 200)) for number in range(3)]
        shown.append(tracks(tracker.update(at(step / FPS, *items), SIZE)))
    assert sorted(shown[0]) == [1, 2, 3]
    assert shown == [shown[0]] * 40


def test_objects_that_cross_keep_their_numbers():
    tracker = Tracker(DETECTION)
    shown = []
    for step in range(60):
        left, right = 100 + 7 * step, 520 - 7 * step
        items = [Item(0, "nut", 0.9, box_at(left, 220)), Item(0, "nut", 0.9, box_at(right, 250))]
        shown.append(tracks(tracker.update(at(step / FPS, *items), SIZE)))
    assert shown == [shown[0]] * 60


@pytest.mark.parametrize("hidden_s", [0.2, 0.6, 0.95])
def test_an_object_that_is_hidden_for_less_than_a_second_keeps_its_number(hidden_s):
    tracker = Tracker(DETECTION)

    def path(seconds):
        return (60 + 150 * seconds, 200)

    assert set(follow(tracker, path, steps(0, 1))) == {1}
    for seconds in steps(1, 1 + hidden_s):
        tracker.update(at(seconds), SIZE)
    assert set(follow(tracker, path, steps(1 + hidden_s, 2.5 + hidden_s))) == {1}


def test_an_object_that_goes_behind_something_keeps_its_number():
    # Its box becomes narrower and narrower before it is hidden: what it would have shrunk to by now is nothing.
    tracker = Tracker(DETECTION)
    widths = [60.0] * 20 + [60.0 - 4 * step for step in range(7)]
    numbers = []
    for step, width in enumerate([*widths, *[None] * 20, *reversed(widths)]):
        items = [] if width is None else [Item(0, "nut", 0.9, box_at(300, 200, width))]
        numbers += tracks(tracker.update(at(step / FPS, *items), SIZE))
    assert set(numbers) == {1}


def test_an_object_that_was_away_for_long_is_a_new_one():
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda _: (200, 200), steps(0, 1))) == {1}
    assert set(follow(tracker, lambda _: (200, 200), steps(4, 5))) == {2}


@pytest.mark.parametrize("fps", [3, 7, 30, 200])
def test_time_counts_and_not_frames(fps):
    # 120 px/s; at 3 fps that is two thirds of the box from frame to frame.
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda seconds: (60 + 120 * seconds, 200), steps(0, 4, fps))) == {1}


def test_an_object_that_moves_by_its_own_size_from_frame_to_frame_keeps_its_number():
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda seconds: (60 + 200 * seconds, 200), steps(0, 2.5, 4))) == {1}


def test_something_else_or_somewhere_else_is_not_what_was_seen_before():
    for other, number in ((box_at(170, 200), 1), (box_at(150, 200, 20, 20), 2), (box_at(500, 200), 2)):
        tracker = Tracker(DETECTION)
        assert follow(tracker, lambda _: (100, 200), [0.8]) == [1]
        assert tracks(tracker.update(at(1, Item(0, "0", 0.9, other)), SIZE)) == [number]


def test_who_appears_where_another_one_was_lost_is_a_new_one():
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda _: (100, 200), steps(0, 1))) == {1}
    tracker.update(at(1), SIZE)
    assert set(follow(tracker, lambda _: (190, 200), steps(1.9, 2.5))) == {2}


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=80, max_size=80))
def test_dropped_frames_do_not_cost_a_number(kept):
    times = [step / FPS for step, keep in enumerate(kept) if keep or step < 5 or step % 6 == 0]
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda seconds: (60 + 200 * seconds, 100 + 30 * seconds), times)) <= {1}


def test_a_low_score_keeps_a_number_and_does_not_make_one():
    tracker = Tracker(DETECTION)
    assert tracks(tracker.update(at(0, Item(0, "nut", 0.3, box_at(300, 300))), SIZE)) == [None]
    assert set(follow(tracker, lambda _: (100, 100), steps(0.1, 0.5), score=0.9)) == {1}
    assert set(follow(tracker, lambda _: (100, 100), steps(0.5, 3), score=0.2)) == {1}


def test_a_high_score_is_paired_before_a_low_one():
    tracker = Tracker(DETECTION)
    follow(tracker, lambda _: (100, 100), steps(0, 0.5))
    shown = tracker.update(at(0.5, Item(0, "nut", 0.3, box_at(101, 100)), Item(0, "nut", 0.9, box_at(112, 104))), SIZE)
    assert tracks(shown) == [None, 1]


def test_what_makes_an_object_is_a_choice_and_nothing_below_the_decoders_threshold_comes_anyway():
    assert set(follow(Tracker(DETECTION, 0.25), lambda _: (9, 9), [0, 0.1], score=0.3)) == {1}
    assert set(follow(Tracker(DETECTION, 0.35), lambda _: (9, 9), [0, 0.1], score=0.3)) == {None}


def test_another_class_in_the_same_place_is_another_object():
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda _: (100, 100), steps(0, 0.5), label=0)) == {1}
    assert set(follow(tracker, lambda _: (100, 100), steps(0.5, 1), label=1)) == {2}


def test_frames_of_another_size_go_on_with_the_same_objects():
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda seconds: (100 + 60 * seconds, 100), steps(0, 1))) == {1}
    half = Item(0, "0", 0.9, box_at(80, 50, 30, 30))
    assert tracks(tracker.update(at(1, half), (320, 240))) == [1]


def test_poses_are_followed_by_the_box_around_their_points():
    tracker = Tracker(DETECTION)
    for step in range(10):
        x = 100.0 + 4 * step
        person = Item(0, "person", 0.9, points=((x, 50.0, 0.9), (x + 40, 120.0, 0.2)))
        assert tracks(tracker.update(at(step / FPS, person), SIZE)) == [1]


@pytest.mark.parametrize(
    "box", [(float("nan"), 0.0, 9.0, 9.0), (0.0, 0.0, float("inf"), 9.0), (5.0, 5.0, 5.0, 9.0), (0.0, 0.0, 1e300, 9.0)]
)
def test_a_box_that_is_none_gets_no_number_and_disturbs_nobody(box):
    tracker = Tracker(DETECTION)
    for step in range(5):
        shown = tracker.update(at(step / FPS, Item(0, "a", 0.9, box), Item(0, "a", 0.9, box_at(90, 90))), SIZE)
        assert tracks(shown) == [None, 1]


def test_time_that_stands_still_or_runs_back_is_no_trouble():
    tracker = Tracker(DETECTION)
    assert set(follow(tracker, lambda _: (100, 100), [1, 1, 0.5, 2, 2])) == {1}


@pytest.mark.parametrize(("task", "decoder"), [("classification", "logits"), ("segmentation", "class-map")])
def test_a_model_that_finds_no_objects_cannot_be_tracked(task, decoder):
    with pytest.raises(UsageError, match=f"expected a model that finds objects, got the task {task}"):
        Tracker(TaskSpec(task, decoder))


coordinates = st.floats(0, 600, width=32)
random_items = st.builds(
    lambda index, score, x, y, width, height: Item(index, str(index), score, (x, y, x + width, y + height)),
    st.integers(0, 2),
    st.floats(0.1, 1),
    coordinates,
    coordinates,
    st.floats(1, 200, width=32),
    st.floats(1, 200, width=32),
)
scenes = st.lists(st.lists(random_items, max_size=6), min_size=1, max_size=8)


@settings(max_examples=60)
@given(scenes, st.data())
def test_numbers_are_unique_in_a_frame_and_do_not_depend_on_the_order_of_items(scene, data):
    one, other = Tracker(DETECTION), Tracker(DETECTION)
    known = set()
    for step, items in enumerate(scene):
        order = data.draw(st.permutations(range(len(items))))
        straight = one.update(at(step / 10, *items), SIZE)
        shuffled = other.update(at(step / 10, *(items[place] for place in order)), SIZE)
        numbers = [number for number in tracks(straight) if number is not None]
        assert len(set(numbers)) == len(numbers)
        assert [dataclasses.replace(item, track=None) for item in straight.items] == items
        had = {(item.index, item.score, item.box, item.track) for item in straight.items}
        assert {(item.index, item.score, item.box, item.track) for item in shuffled.items} == had
        known |= set(numbers)
    assert known == set(range(1, len(known) + 1))


@pytest.mark.parametrize("every", [1, 4])
def test_parts_on_a_belt_keep_their_numbers_from_edge_to_edge(every):
    scene = BeltScene(BeltConfig(speed_px=6.0, frames_long=4, seed=3))
    tracker = Tracker(DETECTION)
    rng = np.random.default_rng(5)
    followed = {}  # by what a part is on the belt: its class and where it is, apart from the belt's motion
    for index in range(0, 240, every):
        parts = scene.render(index)[1]
        items = []
        for part in parts:
            jitter = rng.normal(0, 1.0, 4)
            box = tuple(float(side + off) for side, off in zip(part.box, jitter, strict=True))
            items.append(Item(part.label, PART_LABELS[part.label], 0.9, box))
        shown = tracker.update(at(index / FPS, *items), SIZE)
        for part, number in zip(parts, tracks(shown), strict=True):
            if part.box[0] > 1 and part.box[2] < 639:  # a whole part: its place on the belt is known
                place = round((part.box[0] - 6 * index) % 2560), round(part.box[1])
                followed.setdefault((part.label, place), set()).add(number)
    assert len(followed) > 8
    assert all(len(numbers) == 1 for numbers in followed.values())
    assert len({number for numbers in followed.values() for number in numbers}) == len(followed)
