"""Rules: an event begins once and ends once, at the right time, for the right object, in the right place."""

import datetime as dt
import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.model import ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.contract.service import Region, Rule, ServiceSpec
from device_runtime.errors import BadFileError
from device_runtime.rules import Rules, inside
from device_runtime.tracking import Tracker

SIZE = (640, 480)
LEFT = Region(((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
_OUTPUTS = {
    "detection": ("boxes-scores", ((1, 10, 4), (1, 10, 3))),
    "classification": ("probabilities", ((1, 3),)),
    "segmentation": ("class-map", ((1, 8, 8),)),
    "regression": ("values", ((1, 3),)),
}


def model(task="detection", labels=("gear", "nut", "washer")):
    decoder, shapes = _OUTPUTS[task]
    outputs = tuple(TensorSpec(str(place), shape, "float32") for place, shape in enumerate(shapes))
    inputs = (TensorSpec("input", (1, 8, 8, 3), "float32"),)
    return ModelSpec("m", TaskSpec(task, decoder), ImagePrep(8, 8), inputs, outputs, labels)


def service(*rules, **more):
    return ServiceSpec(regions={"left": LEFT}, rules=rules, **more)


def box_at(x, y, side=40.0):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def gear(x=100.0, y=100.0, score=0.9, track=None, label="gear"):
    return Item(("gear", "nut", "washer").index(label), label, score, box_at(x, y), track=track)


def run(rules, shown, fps=10, start_s=100.0):
    """Show the items of each frame; return (second, phase, rule, dwell) of the events, and the events."""
    events = []
    for index, items in enumerate(shown):
        seconds = start_s + index / fps
        prediction = rules.apply(Prediction(index, round(seconds * 1e9), tuple(items)), SIZE)
        events += prediction.events
    return [(event.frame_index, event.phase, event.rule, event.dwell_s) for event in events], events


def test_an_event_begins_after_its_dwell_time_and_ends_with_how_long_it_held():
    rules = Rules(service(Rule("seen", ("gear",), dwell_s=1.0)), model())
    told, events = run(rules, [[gear()]] * 31 + [[]] * 20)
    assert told == [(10, "begin", "seen", 1.0), (30, "end", "seen", 3.0)]
    assert events[0].id == events[1].id
    assert events[0].item == gear()


def test_a_short_gap_ends_nothing_and_a_longer_one_does():
    rules = Rules(service(Rule("seen")), model())
    told, _ = run(rules, [[gear()]] * 10 + [[]] * 4 + [[gear()]] * 10 + [[]] * 6 + [[gear()]] * 5 + [[]] * 20)
    assert [(frame, phase) for frame, phase, _, _ in told] == [(0, "begin"), (23, "end"), (30, "begin"), (34, "end")]


def test_dwell_starts_anew_after_a_longer_gap():
    rules = Rules(service(Rule("seen", dwell_s=1.0)), model())
    told, _ = run(rules, ([[gear()]] * 8 + [[]] * 7) * 3)
    assert told == []


def test_slow_frames_are_no_gap_and_a_long_pause_is_one():
    rules = Rules(service(Rule("seen", dwell_s=3.0)), model())
    assert [phase for _, phase, _, _ in run(rules, [[gear()]] * 6, fps=0.5)[0]] == ["begin"]
    assert [phase for _, phase, _, _ in run(rules, [[gear()]], start_s=160.0)[0]] == ["end"]


def test_a_gap_that_is_over_does_not_make_a_slow_frame_a_gap():
    rules = Rules(service(Rule("seen")), model())
    events = []
    for index, (seconds, items) in enumerate([(0, [gear()]), (0.1, []), (0.2, [gear()]), (3, [gear()]), (6, [gear()])]):
        events += rules.apply(Prediction(index, round(seconds * 1e9), tuple(items)), SIZE).events
    assert [event.phase for event in events] == ["begin"]


def test_labels_score_and_region_all_have_to_fit():
    rule = Rule("gears", ("gear",), 0.5, "left")
    for item, fits in (
        (gear(), True),
        (gear(label="nut"), False),
        (gear(score=0.4), False),
        (gear(x=400), False),
        (gear(x=320), True),
    ):
        assert bool(run(Rules(service(rule), model()), [[item]])[0]) == fits


def test_the_anchor_is_the_centre_or_the_middle_of_the_lower_side():
    low = Region(((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)))
    for anchor, count in (("center", 0), ("bottom", 1)):
        spec = ServiceSpec(regions={"low": low}, rules=(Rule("low", region="low", anchor=anchor),))
        assert len(run(Rules(spec, model()), [[gear(y=230)]])[0]) == count


def test_an_object_that_is_cut_off_at_the_frames_edge_is_in_a_region_that_ends_there():
    low = Region(((0, 400), (640, 400), (640, 480), (0, 480)), size=SIZE)
    spec = ServiceSpec(regions={"low": low}, rules=(Rule("low", region="low", anchor="bottom"),))
    for bottom in (480.0, 481.5):
        item = Item(0, "gear", 0.9, (10.0, 300.0, 90.0, bottom))
        assert len(run(Rules(spec, model()), [[item]])[0]) == 1


def test_each_tracked_object_has_its_own_time():
    spec = service(Rule("seen", dwell_s=1.0), tracking=True)
    shown = [[gear(track=1)] if step < 10 else [gear(track=2)] for step in range(15)]
    assert run(Rules(spec, model()), shown)[0] == []
    both = [[gear(track=1), gear(x=200, track=2)]] * 15 + [[gear(track=1)]] * 10
    told, events = run(Rules(spec, model()), both)
    assert [(frame, phase) for frame, phase, _, _ in told] == [(10, "begin"), (10, "begin"), (14, "end")]
    assert events[0].id != events[1].id
    assert events[2].item.track == 2


def test_with_tracking_what_has_no_number_counts_for_nothing():
    assert run(Rules(service(Rule("seen"), tracking=True), model()), [[gear()]] * 3)[0] == []


def test_without_tracking_a_class_has_one_time_and_its_best_item_stands_for_it():
    told, events = run(Rules(service(Rule("seen")), model()), [[gear(), gear(x=50, score=0.95), gear(label="nut")]] * 3)
    assert [phase for _, phase, _, _ in told] == ["begin", "begin"]
    assert sorted((event.item.label, event.item.score) for event in events) == [("gear", 0.95), ("nut", 0.9)]


def test_a_class_of_a_whole_frame_has_its_own_time_even_with_tracking():
    rules = Rules(service(Rule("seen", ("nut",), 0.6, dwell_s=0.5), tracking=True), model("classification"))
    told, _ = run(rules, [[Item(1, "nut", 0.7), Item(0, "gear", 0.2)]] * 8)
    assert told == [(5, "begin", "seen", 0.5)]


def test_after_an_end_the_rule_rests():
    rules = Rules(service(Rule("seen", pause_s=5.0)), model())
    told, _ = run(rules, ([[gear()]] * 5 + [[]] * 10) * 5)
    assert [(frame, phase) for frame, phase, _, _ in told] == [(0, "begin"), (4, "end"), (60, "begin"), (64, "end")]


def test_what_goes_on_through_the_rest_begins_after_it():
    rules = Rules(service(Rule("seen", pause_s=2.0)), model())
    told, _ = run(rules, [[gear()]] * 5 + [[]] * 10 + [[gear()]] * 30)
    assert [(frame, phase) for frame, phase, _, _ in told] == [(0, "begin"), (4, "end"), (24, "begin")]
    assert told[2][3] == pytest.approx(0.9)


def test_the_share_of_a_segmented_class_can_be_asked_for():
    rules = Rules(service(Rule("spill", ("nut",), area=0.1)), model("segmentation"))
    told, _ = run(rules, [[Item(1, "nut", area=share)] for share in (0.01, 0.05, 0.2)])
    assert told == [(2, "begin", "spill", 0.0)]


def test_ids_are_never_given_twice_also_by_another_run():
    one, two = (Rules(service(Rule("a"), Rule("b")), model()) for _ in range(2))
    ids = [event.id for rules in (one, two) for event in run(rules, ([[gear()]] + [[]] * 9) * 5)[1]]
    assert len(ids) == 2 * len(set(ids)) == 40


def test_the_times_are_those_of_the_frames():
    rules = Rules(service(Rule("seen")), model())
    captured = time.monotonic_ns() - 5_000_000_000
    (event,) = rules.apply(Prediction(7, captured, (gear(),)), SIZE).events
    ago = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(event.at)
    assert dt.timedelta(seconds=4.9) < ago < dt.timedelta(seconds=30)
    assert event.frame_index == 7


def test_the_end_of_a_run_ends_what_still_holds():
    rules = Rules(service(Rule("seen", dwell_s=0.5), Rule("never", ("washer",))), model())
    _, (begin,) = run(rules, [[gear()]] * 10)
    closing = rules.finish()
    assert closing.items == ()
    assert closing.closing
    assert (closing.frame_index, closing.captured_ns) == (9, 100_900_000_000)
    (end,) = closing.events
    assert (end.id, end.phase, end.dwell_s, end.frame_index) == (begin.id, "end", 0.9, 9)
    assert rules.finish() is None


def test_tracks_and_rules_work_together_when_two_objects_pass_through_a_region():
    spec = service(Rule("seen", region="left", dwell_s=1.0), tracking=True)
    tracker, rules = Tracker(model().task), Rules(spec, model())
    events = []
    for index in range(240):
        items = [gear(x=x) for lead in (0, 400) if 0 < (x := 4 * index - lead) < 640]
        shown = tracker.update(Prediction(index, index * 33_333_333, tuple(items)), SIZE)
        events += rules.apply(shown, SIZE).events
    assert [(event.phase, event.item.track) for event in events] == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]
    assert all(event.dwell_s == pytest.approx(320 / 4 / 30, abs=0.1) for event in events if event.phase == "end")


@pytest.mark.parametrize(
    ("rule", "task", "labels", "message", "hint"),
    [
        (Rule("r", ("geer",)), "detection", ("gear", "nut", "washer"), 'the model has no label "geer"', '"gear"'),
        (Rule("r", ("gear",)), "detection", (), "the model has no labels, expected a number of a class", "labels"),
        (Rule("r", region="left"), "classification", ("a", "b", "c"), "needs a model that finds objects", "leave"),
        (Rule("r", score=0.5), "segmentation", ("a", "b", "c"), "segmentation gives none", "area = 0.05"),
        (Rule("r", area=0.5), "detection", ("a", "b", "c"), "area: expected the task segmentation", "leave"),
        (Rule("r"), "regression", ("a", "b", "c"), "got the task regression", ""),
    ],
)
def test_a_rule_that_does_not_fit_the_model_is_an_error_before_anything_runs(rule, task, labels, message, hint):
    with pytest.raises(BadFileError, match=f'rule "r": .*{message}') as caught:
        Rules(service(rule), model(task, labels))
    assert hint in caught.value.hint


def test_classes_without_names_go_by_their_numbers():
    rules = Rules(service(Rule("r", ("2",))), model(labels=()))
    assert len(run(rules, [[Item(2, "2", 0.9, box_at(9, 9))]])[0]) == 1


corners = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=9)
places = st.lists(st.tuples(st.integers(-10, 110), st.integers(-10, 110)), min_size=1, max_size=20)


@settings(max_examples=300)
@given(corners, places)
def test_what_is_inside_a_polygon_is_so_for_opencv_too(polygon, points):
    contour = np.array(polygon, np.float32).reshape(-1, 1, 2)
    found = inside(np.array(points, float), np.array(polygon, float))
    assert found.shape == (len(points),)
    for point, within in zip(points, found.tolist(), strict=True):
        assert within == (cv2.pointPolygonTest(contour, tuple(map(float, point)), measureDist=False) >= 0)


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.tuples(st.integers(1, 3), st.floats(0, 640), st.floats(0, 1)), max_size=3), max_size=40),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_every_event_has_one_begin_and_after_it_one_end(frames, dwell_s, pause_s):
    rules = Rules(
        service(Rule("r", score=0.3, region="left", dwell_s=dwell_s, pause_s=pause_s), tracking=True), model()
    )
    shown = [[gear(x, 50, score, track) for track, x, score in frame] for frame in frames]
    _, events = run(rules, shown)
    closing = rules.finish()
    events += closing.events if closing else ()
    phases = {}
    for event in events:
        phases.setdefault(event.id, []).append(event)
    assert all([event.phase for event in both] == ["begin", "end"] for both in phases.values())
    assert all(begin.dwell_s >= dwell_s - 1e-3 and end.dwell_s >= begin.dwell_s for begin, end in phases.values())
