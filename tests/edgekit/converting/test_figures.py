"""Figures are true to their numbers, and stay on the page whatever the numbers are."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.interface import LayerError, SearchOptions
from edgekit.converting.figures import layer_chart, pareto
from tests.support.search_reports import BASELINE, CANDIDATES, candidate, search_report

shares = st.floats(0, 1)
figures = st.builds(
    candidate,
    st.sampled_from(["static-int8", "float16"]),
    st.none() | shares,
    st.none() | st.floats(0.001, 1e5),
    st.integers(0, 10**10),
    st.sampled_from(["ok", "missed"]),
    on_frontier=st.booleans(),
)


def plot(*candidates, **changes):
    return pareto(search_report(candidates=candidates, **changes))


@given(st.lists(figures, max_size=12), shares, st.floats(0, 100), st.sampled_from(["latency", "size"]))
def test_everything_stays_in_the_plot(candidates, baseline, budget, objective):
    options = SearchOptions(max_drop=budget, optimize=objective)
    figure = plot(*candidates, baseline=baseline, options=options)
    if figure is None:
        assert not [each for each in candidates if each.metric is not None and each.latency_ms and each.size_bytes]
        return
    marks = [tick.at for tick in (*figure.x_ticks, *figure.y_ticks)]
    points = [value for point in figure.points for value in (point.x, point.y, point.label.x, point.label.y)]
    bars = [end for point in figure.points if point.bar for end in point.bar]
    stairs = [float(value) for corner in figure.frontier.split() for value in corner.split(",")]
    for value in (*marks, *points, *bars, *stairs, figure.budget, figure.baseline):
        assert -0.01 <= value <= 100.01
    assert figure.baseline <= figure.budget


def test_better_is_higher_and_cheaper_is_further_left():
    good, fast = plot(candidate("float16", 0.98, 10.0), candidate("static-int8", 0.97, 5.0)).points
    assert good.y < fast.y
    assert fast.x < good.x
    assert fast.x == pytest.approx(good.x / 2, abs=0.01)


def test_the_budget_lies_its_points_below_the_trained_model():
    one = plot(candidate("static-int8", BASELINE - 0.01, 5.0))
    assert one.points[0].y == pytest.approx(one.budget)
    none = plot(candidate("static-int8", BASELINE, 5.0))
    assert none.points[0].y == pytest.approx(none.baseline)


def test_a_candidate_that_lost_everything_is_marked_at_the_edge_and_presses_nothing_flat():
    lost, near, kept = plot(
        candidate("static-int4", 0.1, 5.0), candidate("static-int8", 0.97, 6.0), candidate("float16", 0.98, 7.0)
    ).points
    assert (lost.beyond, lost.y) == (True, 100)
    assert not near.beyond
    assert near.y - kept.y > 20


def test_costs_far_apart_are_drawn_by_their_ratio():
    first, second, third = plot(
        *(candidate("float16", 0.98, ms) for ms in (1.0, 10.0, 100.0)),
    ).points
    assert second.x - first.x == pytest.approx(third.x - second.x, abs=0.01)
    labels = [tick.label for tick in plot(candidate("a", 0.98, 1.0), candidate("b", 0.98, 100.0)).x_ticks]
    assert labels == ["1", "2", "5", "10", "20", "50", "100"]


def test_the_frontier_is_a_staircase_through_its_candidates():
    corners = plot(
        candidate("float16", 0.98, 10.0, on_frontier=True),
        candidate("dynamic-int8", 0.97, 10.0),
        candidate("static-int8", 0.97, 5.0, on_frontier=True),
    )
    expensive, _, cheap = corners.points
    drawn = [tuple(float(value) for value in corner.split(",")) for corner in corners.frontier.split()]
    wanted = [(cheap.x, cheap.y), (expensive.x, cheap.y), (expensive.x, expensive.y)]
    assert drawn == [pytest.approx(corner, abs=0.01) for corner in wanted]


@given(st.lists(st.tuples(st.sampled_from([5.0, 5.1, 9.0]), st.sampled_from([0.97, 0.971, 0.98])), max_size=6))
def test_no_two_numbers_lie_on_each_other(places):
    figure = plot(*(candidate("float16", metric, ms) for ms, metric in places), candidate("float32", 0.98, 9.0))
    spots = [(point.label.x, point.label.y, point.label.left) for point in figure.points]
    for index, (x, y, left) in enumerate(spots):
        for a, b, other in spots[:index]:
            assert left != other or abs(x - a) >= 6 or abs(y - b) >= 6


def test_sizes_are_marked_in_their_unit():
    figure = plot(*CANDIDATES, options=SearchOptions(optimize="size"))
    assert all(tick.label.endswith(" MB") for tick in figure.x_ticks)
    assert figure.points[0].title == "float32: 98.00%, 13.9 MB"


def test_layers_stand_in_their_order_and_lower_is_worse():
    layers = (
        LayerError("a", "CONV_2D", 40.0, 1.0),
        LayerError("b", "MUL", 10.0, 0.9),
        LayerError("c", "ADD", -5.0, 0.1),
    )
    chart = layer_chart(search_report(layers=layers, guilty=("ADD c",)))
    assert [bar.guilty for bar in chart.bars] == [False, False, True]
    assert [bar.left for bar in chart.bars] == [0, pytest.approx(33.333), pytest.approx(66.667)]
    heights = [bar.height for bar in chart.bars]
    assert heights[:2] == [100, 25]
    assert 0 < heights[2] < 5
    assert chart.summary == "Signal to noise of 3 layers, least -5.0 dB in ADD c"


def test_a_report_without_layers_has_no_chart():
    assert layer_chart(search_report(layers=())) is None
    assert plot(dataclasses.replace(CANDIDATES[8])) is None
