"""The front of a sweep: what nothing beats beyond the noise."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Interval
from edgekit.benching.pareto import Cost, dominates, dominators, with_front
from tests.support.sweeps import point

VALUES = st.integers(0, 6).map(float)
WIDTHS = st.one_of(st.none(), st.integers(0, 4).map(float))


@st.composite
def costs(draw, criteria=3, widths=WIDTHS):
    made = []
    for _ in range(criteria):
        value, width = draw(VALUES), draw(widths)
        made.append(Cost(value, None if width is None else Interval(value - width, value + width)))
    return tuple(made)


SWEEPS = st.lists(costs(), min_size=1, max_size=9)


def front(points):
    return [place for place, found in enumerate(dominators(points)) if not found]


def plain_front(points):
    """The textbook's: not beaten in value by one that is nowhere worse."""
    values = [tuple(cost.value for cost in each) for each in points]
    return [
        place
        for place, own in enumerate(values)
        if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in values)
    ]


@given(SWEEPS)
def test_there_is_always_a_front(points):
    assert front(points)


@given(st.lists(costs(widths=st.just(0.0)), min_size=1, max_size=9))
def test_without_noise_it_is_the_textbooks_front(points):
    assert front(points) == plain_front(points)


@given(SWEEPS)
def test_noise_only_ever_adds_points_to_it(points):
    assert set(plain_front(points)) <= set(front(points))
    blurred = [tuple(dataclasses.replace(cost, interval=None) for cost in each) for each in points]
    assert front(blurred) == list(range(len(points)))


@given(SWEEPS)
def test_points_never_dominate_each_other_in_a_circle(points):
    left = set(range(len(points)))
    found = dominators(points)
    while left:
        free = {place for place in left if not any(other in left for other in found[place])}
        assert free
        left -= free


@given(SWEEPS, st.randoms())
def test_the_order_of_points_does_not_matter(points, random):
    order = list(range(len(points)))
    random.shuffle(order)
    shuffled = front([points[place] for place in order])
    assert sorted(order[place] for place in shuffled) == front(points)


@given(costs(), costs())
def test_who_dominates_is_nowhere_worse_and_somewhere_better_beyond_the_noise(one, two):
    assert not dominates(one, one)
    if dominates(one, two):
        assert not dominates(two, one)
        assert all(mine.value <= theirs.value for mine, theirs in zip(one, two, strict=True))
        assert any(
            mine.interval and theirs.interval and mine.interval.high < theirs.interval.low
            for mine, theirs in zip(one, two, strict=True)
        )


def test_a_point_that_is_worse_in_all_is_marked_with_those_that_beat_it():
    found = with_front(
        [point(1, 10.0, accuracy=0.9), point(2, 20.0, accuracy=0.8), point(3, 30.0, accuracy=0.7)], "p50"
    )
    assert [each.dominated_by for each in found] == [(), (1,), (1, 2)]
    assert [each.on_front for each in found] == [True, False, False]


def test_a_difference_within_the_noise_marks_nothing():
    found = with_front([point(1, 10.0, noise=0.05), point(2, 10.5, noise=0.05)], "p50")
    assert all(each.on_front for each in found)


def test_a_smaller_file_is_better_without_any_noise():
    found = with_front([point(1, 10.0, size=999), point(2, 10.0, size=1000)], "p50")
    assert found[1].dominated_by == (1,)


def test_more_accuracy_keeps_a_slow_point_on_the_front():
    found = with_front([point(1, 10.0, accuracy=0.90), point(2, 20.0, accuracy=0.91)], "p50")
    assert all(each.on_front for each in found)


def test_disturbed_points_are_not_compared_while_there_are_others():
    disturbed = point(1, 1.0, disturbed=("hot",))
    found = with_front([disturbed, point(2, 10.0), point(3, 20.0)], "p50")
    assert [(each.on_front, each.dominated_by) for each in found] == [(False, ()), (True, ()), (False, (2,))]
    assert [each.on_front for each in with_front([disturbed], "p50")] == [True]


def test_points_that_were_not_measured_or_not_evaluated_are_on_no_front():
    unknown = dataclasses.replace(point(1, 1.0), accuracy=None)
    failed = dataclasses.replace(point(2, 1.0, accuracy=0.9), latency=None)
    found = with_front([unknown, failed, point(3, 9.0, accuracy=0.5)], "p50")
    assert [each.on_front for each in found] == [False, False, True]


def test_the_percentile_decides():
    tail = dataclasses.replace(point(2, 5.0).latency, p95=50.0, p95_interval=Interval(49, 51))
    points = [point(1, 10.0), point(2, 5.0, latency=tail)]
    assert [each.on_front for each in with_front(points, "p50")] == [False, True]
    assert [each.on_front for each in with_front(points, "p95")] == [True, False]
