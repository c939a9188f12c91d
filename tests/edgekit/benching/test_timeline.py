"""A run over time is true to its frames, and to what the machine told, on one axis."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import Moment
from edgekit.benching.timeline import frame_places, timeline
from tests.support.bench_reports import LONG_AGO, NOW, bench_report, full_report, machine

latencies = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=400)
readings = st.none() | st.floats(0, 1e4)
moments = st.builds(
    Moment, st.floats(-1, 20), readings, readings, st.none() | st.integers(0, 0xFFFFF), st.none() | st.floats(0, 1)
)


def points(text):
    return np.array([[float(part) for part in point.split(",")] for point in text.split()])


def run_of(values, duration_s=10.0, **changes):
    """A run whose whole time is the model's."""
    samples = {"invoke": tuple(values), "total": tuple(values)}
    return bench_report(samples_ms=samples, frames=len(values), duration_s=duration_s, **changes)


def readings_of(*values, key="throttled", every=1.0):
    return tuple(Moment(index * every, **{key: value}) for index, value in enumerate(values))


@given(latencies, st.lists(moments, max_size=40), st.floats(0, 12))
def test_everything_stays_in_its_plot(values, during, duration):
    during = tuple(sorted(during, key=lambda moment: moment.at_s))
    figure = timeline(run_of(values, duration, during=during))
    drawn = [text for series in figure.series for text in (series.line, series.band)]
    drawn += [text for strip in figure.strips for text in (strip.line, strip.area)]
    for text in drawn:
        assert (points(text) >= 0).all()
        assert (points(text) <= 100).all()
    spans = [*figure.slowed, *(span for lane in figure.lanes for span in lane.spans)]
    assert all(span.left >= 0 and span.width >= 0 and span.left + span.width <= 100.01 for span in spans)
    assert all(len(piece.cells) == len(figure.columns) for piece in figure.pieces)


def test_a_peak_is_drawn_at_its_frame():
    values = [10.0] * 900
    values[400] = 14.0
    band = points(timeline(run_of(values, 9.0)).series[0].band)
    peak = band[band[:, 1].argmin()]
    assert peak[0] == pytest.approx(100 * 400 / 899, abs=0.3)


def test_an_outlier_is_counted_and_marked_instead_of_flattening_the_rest():
    values = [10 + 0.01 * index for index in range(999)] + [5000.0]
    figure = timeline(run_of(values))
    assert (figure.beyond, figure.beyond_at, figure.longest) == (1, (100.0,), "5000")


def test_a_slow_down_that_lasts_is_seen_in_the_line():
    values = [10.0] * 500 + [20.0] * 500
    line = points(timeline(run_of(values, 15.0)).series[0].line)
    assert line[:100, 1].max() == line[:100, 1].min() == pytest.approx(50)
    assert line[-100:, 1].max() == pytest.approx(0)


def test_frames_lie_where_they_ran_and_not_where_they_were_counted():
    # 500 frames of 10 ms and 500 of 30 ms: the slow ones began after a quarter of the time.
    report = bench_report(samples_ms={"invoke": (10.0,) * 500 + (30.0,) * 500}, frames=1000, duration_s=20.0)
    assert frame_places(report)[500] == pytest.approx(25, abs=0.3)


def test_frames_of_a_slow_camera_lie_evenly():
    report = bench_report(samples_ms={"invoke": (1.0,) * 50 + (3.0,) * 50}, frames=100, duration_s=10.0)
    assert frame_places(report)[50] == pytest.approx(50, abs=1)


def test_what_the_firmware_did_is_drawn_when_it_did_it():
    capped = 0b0010
    figure = timeline(run_of([10.0] * 1000, during=readings_of(0, 0, capped, capped, 0, 0, 0, 0, 0, 0)))
    (lane,) = figure.lanes
    assert (lane.name, lane.summary) == ("frequency capped", "frequency capped: 2.0 of 10.0 s")
    (span,) = figure.slowed
    assert (span.left, span.width) == (pytest.approx(15), pytest.approx(20))
    assert "slowed down by frequency capped" in figure.summary


def test_throttling_between_two_readings_is_drawn_from_the_sticky_bit():
    figure = timeline(run_of([10.0] * 100, during=readings_of(0, 0, LONG_AGO, LONG_AGO)))
    assert [lane.name for lane in figure.lanes] == ["under-voltage"]
    assert (figure.slowed[0].left, figure.slowed[0].width) == (pytest.approx(10), pytest.approx(10))


def test_throttling_long_before_the_run_is_not_drawn():
    before = machine(throttled=LONG_AGO)
    figure = timeline(run_of([10.0] * 100, before=before, during=readings_of(LONG_AGO, LONG_AGO)))
    assert figure.lanes == figure.slowed == ()


def test_what_happened_before_frames_were_counted_moves_nothing():
    capped = 0b0010
    bits = readings_of(0, capped, 0, 0, 0, capped, 0, 0, 0)
    figure = timeline(run_of([10.0] * 200, 4.0, during=bits, measured_from_s=3.0))
    (span,) = figure.slowed
    assert (span.left, span.width) == (pytest.approx(37.5), pytest.approx(25))


def test_each_reading_has_its_strip_and_what_is_not_told_has_none():
    figure = timeline(full_report())
    assert [strip.summary for strip in figure.strips] == [
        "Clock of the slowest core: 1000 MHz to 1800 MHz",
        "Temperature: 56 °C to 80 °C",
        "Work of others, of all cores: 2% to 22%",
        "Waiting for memory: 0% to 3%",
    ]
    silent = tuple(Moment(moment.at_s) for moment in full_report().during)
    assert timeline(full_report(during=silent)).strips == ()
    calm = tuple(dataclasses.replace(moment, waiting=0.0) for moment in full_report().during)
    assert "memory" not in " ".join(strip.summary for strip in timeline(full_report(during=calm)).strips)


def test_the_clock_begins_at_zero_so_that_half_the_clock_is_half_the_height():
    clock = readings_of(2000.0, 1000.0, 2000.0, key="frequency_mhz", every=5.0)
    (strip,) = timeline(run_of([10.0] * 100, during=clock)).strips
    assert points(strip.line)[:, 1].tolist() == [0, 0, 50, 0, 0]


def test_the_table_tells_what_the_figure_shows():
    figure = timeline(full_report())
    assert figure.columns[:2] == ("total p50 ms", "total max ms")
    assert figure.columns[-4:] == ("slowest clock", "hottest", "others", "slowed by")
    assert figure.pieces[0].when == "0.0–7.5 s"
    assert figure.pieces[0].cells[-4:] == ("1800 MHz", "63 °C", "2%", "nothing")
    assert figure.pieces[5].cells[-1] == "frequency capped, throttled"


def test_a_run_without_moments_has_latencies_alone():
    figure = timeline(run_of([10.0] * 100, during=(Moment(1.0, throttled=NOW),)))
    assert figure.slowed
    alone = timeline(run_of([10.0] * 100))
    assert (alone.lanes, alone.strips, len(alone.series)) == ((), (), 2)
    assert timeline(bench_report(samples_ms={})) is None
