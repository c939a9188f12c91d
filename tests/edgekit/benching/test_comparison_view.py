"""Two runs side by side: what is said follows the intervals, and nobody has to look at a colour to see it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Interval
from edgekit.benching.compare import Comparison, Doubt, Figure, compare_runs
from edgekit.benching.comparison_view import changes_of, comparison_view, judge_comparison
from edgekit.benching.report import render
from tests.support.bench_reports import bench_report, machine
from tests.support.pages import Page

ratios = st.floats(0.01, 50)


def comparison_of(*figures, word="same", doubts=()) -> Comparison:
    found = compare_runs(bench_report(), bench_report())
    return dataclasses.replace(found, figures=tuple(figures), word=word, doubts=tuple(doubts))


def figure(ratio=1.0, low=None, high=None, word="same", **changes) -> Figure:
    ends = None if low is None else Interval(low, high)
    return dataclasses.replace(Figure("total", "p50", 10.0, 10.0 * ratio, ratio, word, ends), **changes)


@given(st.lists(st.tuples(ratios, ratios, ratios).map(sorted), min_size=1, max_size=6))
def test_every_change_stays_on_the_axis_and_in_its_order(triples):
    view = comparison_view(comparison_of(*(figure(middle, low, high) for low, middle, high in triples)))
    for row in view.rows:
        assert 0 <= row.low <= row.at <= row.high <= 100
    assert all(0 <= tick.at <= 100 for tick in view.ticks)
    assert "0" in [tick.label for tick in view.ticks]
    assert view.noise[0] < view.zero < view.noise[1]


def test_slower_is_right_of_no_change_and_faster_left_of_it():
    slower, faster = comparison_view(comparison_of(figure(1.1, 1.05, 1.15), figure(0.9, 0.85, 0.95))).rows
    zero = comparison_view(comparison_of(figure())).zero
    assert faster.high < zero < slower.low
    assert (slower.change, slower.interval) == ("+10.0%", "+5.0% to +15.0%")


def test_what_is_far_beyond_the_axis_ends_in_an_arrow():
    (row,) = comparison_view(comparison_of(figure(8.0, 7.0, 9.0, "slower"))).rows
    assert (row.at, row.beyond) == (100, 1)


def test_what_cannot_be_told_says_why_and_draws_nothing():
    found = comparison_of(figure(1.5, word="unknown", why="the runs had different sources of frames"), word="unknown")
    (row,) = comparison_view(found).rows
    assert (row.low, row.at, row.high) == (None, None, None)
    assert judge_comparison(found).kind == "disturbed"
    text = Page(render(bench_report(), found)).text
    assert "cannot be told: the runs had different sources of frames" in text


@pytest.mark.parametrize(
    ("word", "kind"), [("same", "clean"), ("faster", "clean"), ("slower", "noted"), ("mixed", "noted")]
)
def test_the_verdict_follows_the_comparison(word, kind):
    assert judge_comparison(comparison_of(figure(1.1, 1.05, 1.15, word), word=word)).kind == kind


def test_a_comparison_in_doubt_says_so_at_the_top_with_every_doubt():
    other = bench_report(before=machine(board="Raspberry Pi 5"))
    page = Page(render(bench_report(), compare_runs(other, bench_report())))
    assert "but in doubt: total p50" in page.text
    assert "hey are from different machines" in page.text
    assert page.text.index("in doubt") < page.text.index("Throughput")
    assert "machine cannot be compared" in page.text
    doubts = (Doubt("the first run was disturbed: others"), Doubt("the second one, too", grave=True))
    found = comparison_view(comparison_of(figure(), doubts=doubts))
    assert found.warnings == ("The first run was disturbed: others.", "The second one, too.")
    assert found.verdict.kind == "disturbed"


def test_headlines_say_what_they_were_and_how_they_changed():
    found = comparison_of(figure(1.1, 1.05, 1.15, "slower"), word="slower")
    assert changes_of(found, "total") == (("before", "10.0 ms"), ("change", "+10.0%"))
    assert changes_of(found, "decode") == ()
    assert "before 10.0 ms change +10.0%" in Page(render(bench_report(), found)).text
