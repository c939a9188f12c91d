"""Two runs side by side: what is said follows the intervals, and nobody has to look at a colour to see it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Interval
from edgekit.benching.compare import Comparison, Doubt, Figure, compare_runs
from edgekit.benching.comparison_page import comparison_view, judge, page_of, render_comparison
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
    verdict, flag = judge(found)
    assert (verdict.kind, flag) == ("disturbed", "no result")
    assert "cannot be told: the runs had different sources of frames" in Page(render_comparison(found)).text


@pytest.mark.parametrize(
    ("word", "kind"), [("same", "clean"), ("faster", "clean"), ("slower", "noted"), ("mixed", "noted")]
)
def test_the_verdict_follows_the_comparison(word, kind):
    verdict, flag = judge(comparison_of(figure(1.1, 1.05, 1.15, word), word=word))
    assert (verdict.kind, flag) == (kind, "")


def test_a_comparison_in_doubt_says_so_in_the_title_and_at_every_headline():
    other = bench_report(before=machine(board="Raspberry Pi 5"))
    page = Page(render_comparison(compare_runs(bench_report(), other)))
    assert "[in doubt] belt" in page.text
    assert "from different machines" in page.text
    assert page.of_class("flag").count("p") == 4
    assert "machine cannot be compared" in page.text


def test_each_doubt_is_said():
    doubts = (Doubt("the first run was disturbed: others"), Doubt("the second one, too", grave=True))
    page = Page(render_comparison(comparison_of(figure(), doubts=doubts)))
    assert "The first run was disturbed: others." in page.text
    assert "The second one, too." in page.text


def test_headlines_are_changes_with_their_intervals_and_both_figures():
    total = page_of(comparison_of(figure(1.1, 1.05, 1.15, "slower"), word="slower")).headlines[0]
    assert (total.label, total.value, total.unit) == ("Total latency", "+10.0", "% p50")
    assert total.details == (("95%", "+5.0% to +15.0%"), ("before", "10.0 ms"), ("after", "11.0 ms"))
