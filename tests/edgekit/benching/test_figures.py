"""Figures are true to their numbers, and stay on the page whatever the numbers are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.bench import summarise
from device_runtime.contract.bench import LatencyStats
from edgekit.benching.figures import histogram, stage_bars, timeline

latencies = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=400)


def points(text):
    return np.array([[float(part) for part in point.split(",")] for point in text.split()])


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
    drawn = timeline({"total": values}, 1000)
    assert (drawn.beyond, drawn.beyond_at) == (1, (100.0,))


@given(latencies)
def test_a_timeline_stays_in_its_plot(values):
    figure = timeline({"total": values, "invoke": [value / 2 for value in values]}, len(values))
    for series in figure.series:
        for drawn in (points(series.line), points(series.band)):
            assert (drawn >= 0).all()
            assert (drawn <= 100).all()


def test_a_peak_is_drawn_at_its_frame():
    values = [10.0] * 900
    values[400] = 14.0
    band = points(timeline({"total": values}, 900).series[0].band)
    peak = band[band[:, 1].argmin()]
    assert peak[0] == pytest.approx(100 * 400 / 899, abs=0.3)


def test_a_slow_down_that_lasts_is_seen_in_the_line():
    values = [10.0] * 500 + [20.0] * 500
    line = points(timeline({"total": values}, 1000).series[0].line)
    assert line[:100, 1].max() == line[:100, 1].min() == pytest.approx(50)
    assert line[-100:, 1].max() == pytest.approx(0)


def test_stage_bars_share_one_scale():
    stages = {"invoke": LatencyStats(70, 5, 5, 1, 9, p90=8), "total": LatencyStats(70, 10, 10, 9, 20, p90=16)}
    assert [(bar.name, bar.p50, bar.p90, bar.p99, bar.value) for bar in stage_bars(stages)] == [
        ("invoke", 31.25, 50, None, "5.00"),
        ("total", 62.5, 100, None, "10.0"),
    ]


def test_stages_that_take_no_time_are_drawn_without_length():
    assert [bar.p50 for bar in stage_bars({"invoke": LatencyStats(5, 0, 0, 0, 0)})] == [0]
