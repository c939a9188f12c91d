"""Percentiles with too few samples are not told, and intervals hold what they promise to hold."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.bench.statistics import (
    NEEDED_SAMPLES,
    SAMPLES_FOR_INTERVAL,
    SAMPLES_FOR_P90,
    SAMPLES_FOR_P95,
    SAMPLES_FOR_P99,
    bootstrap,
    quantile_interval,
    ratio_interval,
    samples_needed,
    summarise,
)

LATENCIES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=800)
QUANTILES = st.floats(0.01, 0.99)
SIGMA = 0.1


def latencies(count, correlation, rng):
    """Latencies around 10 ms whose logarithms are AR(1): neighbours have that correlation."""
    shocks = rng.standard_normal(count) * math.sqrt(1 - correlation**2)
    state = rng.standard_normal()
    noise = np.empty(count)
    for index in range(count):
        noise[index] = state = correlation * state + shocks[index]
    return 10 * np.exp(SIGMA * noise)


def true_quantile(quantile):
    return 10 * math.exp(SIGMA * NormalDist().inv_cdf(quantile))


@given(LATENCIES)
def test_statistics_are_those_of_the_samples(values):
    stats = summarise(values)
    assert stats.count == len(values)
    assert stats.min <= stats.p50 <= stats.max
    assert stats.min <= stats.mean <= stats.max
    told = {name: getattr(stats, name) for name in NEEDED_SAMPLES}
    assert {name: value is not None for name, value in told.items()} == {
        name: len(values) >= needed for name, needed in NEEDED_SAMPLES.items()
    }
    ordered = [stats.p50, *(value for value in told.values() if value is not None), stats.max]
    assert ordered == sorted(ordered)
    assert (stats.p50_interval is not None) == (len(values) >= SAMPLES_FOR_INTERVAL)
    assert (stats.p99_interval is not None) == (len(values) >= SAMPLES_FOR_P99)


def test_known_percentiles_are_right():
    stats = summarise(np.arange(1001, dtype=float))
    assert (stats.mean, stats.p50, stats.p90, stats.p95, stats.p99) == (500, 500, 900, 950, 990)
    assert (stats.min, stats.max) == (0, 1000)


@pytest.mark.parametrize(
    ("quantile", "needed"), [(0.90, SAMPLES_FOR_P90), (0.95, SAMPLES_FOR_P95), (0.99, SAMPLES_FOR_P99)]
)
def test_percentiles_take_as_many_samples_as_loadgens_rule_says(quantile, needed):
    assert samples_needed(quantile) == needed
    above = 1 - quantile
    chances = [quantile**count + count * above * quantile ** (count - 1) for count in (needed - 1, needed)]
    assert chances[0] > 0.01 >= chances[1]


@settings(max_examples=60)
@given(LATENCIES, QUANTILES)
def test_an_interval_holds_its_figure_lies_within_the_samples_and_is_the_same_each_time(values, quantile):
    interval = quantile_interval(values, quantile)
    assert min(values) <= interval.low <= float(np.quantile(values, quantile)) <= interval.high <= max(values)
    assert quantile_interval(values, quantile) == interval


@settings(max_examples=60)
@given(LATENCIES, QUANTILES, QUANTILES)
def test_a_higher_quantile_has_no_lower_interval(values, one, other):
    low, high = (quantile_interval(values, quantile) for quantile in sorted((one, other)))
    assert low.low <= high.high


@settings(max_examples=60)
@given(LATENCIES, LATENCIES, QUANTILES)
def test_a_ratio_lies_in_its_interval_and_within_what_the_samples_allow(before, after, quantile):
    interval = ratio_interval(before, after, quantile)
    ratio = float(np.quantile(after, quantile)) / float(np.quantile(before, quantile))
    assert min(after) / max(before) * (1 - 1e-9) <= interval.low
    assert interval.low <= ratio <= interval.high
    assert interval.high <= max(after) / min(before) * (1 + 1e-9)


@pytest.mark.parametrize("factor", [0.5, 2.0, 16.0])
def test_another_unit_changes_no_ratio_by_more_than_other_random_numbers_do(factor):
    rng = np.random.default_rng(3)
    before, after = latencies(400, 0.5, rng), latencies(400, 0.5, rng)
    plain, scaled = ratio_interval(before, after, 0.5), ratio_interval(before * factor, after * factor, 0.5)
    width = plain.high - plain.low
    assert (scaled.low, scaled.high) == pytest.approx((plain.low, plain.high), abs=0.15 * width)


def test_the_same_run_twice_may_differ_by_its_own_noise_and_both_ways_alike():
    run = latencies(500, 0.5, np.random.default_rng(4))
    interval = ratio_interval(run, run, 0.5)
    assert interval.low < 1 < interval.high
    assert math.log(interval.high) == pytest.approx(-math.log(interval.low), rel=0.2)


def test_stages_that_take_no_time_have_a_ratio_of_one():
    assert ratio_interval([0.0] * 50, [0.0] * 50, 0.5).low == 1.0
    assert math.isfinite(ratio_interval([0.0] * 50, [1.0] * 50, 0.5).high)


def test_equal_samples_leave_no_doubt():
    interval = quantile_interval([3.5] * 100, 0.5)
    assert (interval.low, interval.high) == (3.5, 3.5)


@pytest.mark.parametrize(
    ("quantile", "count", "correlation", "least"),
    [
        (0.5, 64, 0.0, 0.90),
        (0.5, 300, 0.0, 0.92),
        (0.5, 300, 0.5, 0.90),
        (0.5, 1000, 0.9, 0.88),
        (0.99, 1000, 0.0, 0.88),
    ],
)
def test_intervals_hold_the_true_quantile_about_as_often_as_they_say(quantile, count, correlation, least):
    rng, truth, runs = np.random.default_rng(11), true_quantile(quantile), 150
    held = 0
    for _ in range(runs):
        interval = quantile_interval(latencies(count, correlation, rng), quantile)
        held += interval.low <= truth <= interval.high
    assert least <= held / runs < 1.0


def test_intervals_know_that_neighbours_are_alike():
    rng = np.random.default_rng(5)
    widths = []
    for correlation in (0.0, 0.9):
        found = [quantile_interval(latencies(600, correlation, rng), 0.5) for _ in range(20)]
        widths.append(np.mean([each.high - each.low for each in found]))
    assert widths[1] > 2.5 * widths[0]


def test_runs_of_the_same_thing_are_told_apart_in_at_most_5_of_100_and_a_tenth_slower_in_all():
    rng = np.random.default_rng(8)
    alarms = found = 0
    for _ in range(100):
        before, after = (latencies(400, 0.5, rng) for _ in range(2))
        same, slower = ratio_interval(before, after, 0.5), ratio_interval(before, after * 1.1, 0.5)
        alarms += not same.low <= 1 <= same.high
        found += slower.low > 1
    assert alarms <= 5
    assert found == 100


def test_a_run_of_any_length_is_resampled_in_its_own_unit():
    for count in (1, 2, 11, 12, 13, 97, 5000, 100_000):
        values = np.random.default_rng(count).uniform(5, 6, count)
        found = bootstrap(values, 0.99)
        assert values.min() <= found.min() <= found.max() <= values.max()
