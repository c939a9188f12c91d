"""Figures are true to their numbers, and stay on the page whatever the numbers are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.bench.statistics import summarise
from device_runtime.contract.bench import LatencyStats
from edgekit.benching.figures import bars, histogram, stage_bars

latencies = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=400)


@given(latencies)
def test_a_histogram_stays_in_its_plot_and_counts_every_frame(values):
    figure = histogram("invoke", values, summarise(values))
    assert all(0 <= bar.left <= 100 and bar.left + bar.width <= 100.01 and 0 < bar.height <= 100 for bar in figure.bins)
    counted = sum(int(bar.title.split(": ")[1].split()[0]) for bar in figure.bins)
    assert counted + figure.beyond == len(values)
    assert all(marker.at is None or 0 <= marker.at <= 100 for marker in figure.markers)
    assert figure.ticks


@pytest.mark.parametrize("value", [0.0, 0.24, 0.1 + 0.2, 1e6 / 3])
def test_equal_latencies_are_one_bar(value):
    figure = histogram("invoke", [value] * 70, summarise([value] * 70))
    assert [bar.title.split(": ")[1] for bar in figure.bins] == ["70 frames"]
    assert figure.beyond == 0


def test_the_tallest_bar_is_where_most_frames_are():
    values = [10.0] * 50 + [12.0] * 20 + [14.0] * 5
    figure = histogram("total", values, summarise(values))
    tallest = max(figure.bins, key=lambda bar: bar.height)
    assert (tallest.height, tallest.title.split(": ")[1]) == (100, "50 frames")
    assert sorted(bar.height for bar in figure.bins) == [10, 40, 100]


def test_an_outlier_is_counted_instead_of_flattening_the_rest():
    values = [10 + 0.01 * index for index in range(999)] + [5000.0]
    figure = histogram("total", values, summarise(values))
    assert (figure.beyond, figure.longest) == (1, "5000")


@given(latencies)
def test_the_table_of_a_histogram_counts_every_frame_too(values):
    rows = histogram("invoke", values, summarise(values)).rows
    assert 1 <= len(rows) <= 9
    assert sum(int(frames.split()[0].replace(",", "")) for _, frames in rows) == len(values)


def test_stage_bars_share_one_scale():
    stages = {"invoke": LatencyStats(70, 5, 5, 1, 9, p90=8), "total": LatencyStats(70, 10, 10, 9, 20, p90=16)}
    assert [(bar.name, bar.p50, bar.p90, bar.p99, bar.value) for bar in stage_bars(stages)] == [
        ("invoke", 31.25, 50, None, "5.00"),
        ("total", 62.5, 100, None, "10.0"),
    ]


def test_stages_that_take_no_time_are_drawn_without_length():
    assert [bar.p50 for bar in stage_bars({"invoke": LatencyStats(5, 0, 0, 0, 0)})] == [0]


def test_bars_are_lengths_of_the_longest_or_of_the_whole():
    rows = [("a", "first", 2.0, "2 ms"), ("b", "first", 8.0, "8 ms")]
    assert [bar.length for bar in bars(rows)] == [25, 100]
    assert [bar.length for bar in bars(rows, 16)] == [12.5, 50]
    assert bars([]) == ()
    assert [bar.length for bar in bars([("a", "first", 0.0, "0 ms")])] == [0]
