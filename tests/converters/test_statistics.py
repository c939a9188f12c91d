"""Intervals against published examples, and against what they promise: to hold the truth 95 times of 100."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.interface import Interval
from converters.statistics import bootstrapped, paired_difference, proportion, samples_needed


def test_wilsons_interval_is_that_of_the_textbook():
    """Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3."""
    for hits, count, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        found = proportion(hits, count)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_where_two_models_never_differ_the_interval_is_that_of_the_score_test():
    for count in (10, 50, 1000):
        width = 1.959964**2 / (count + 1.959964**2)
        found = paired_difference(0, 0, count)
        assert (found.value, found.low, found.high) == pytest.approx((0.0, -width, width), abs=3e-4)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 100))
def test_a_paired_difference_lies_in_its_interval_and_turns_round_with_its_sides(first, second, both):
    count = max(1, first + second + both)
    found, turned = paired_difference(first, second, count), paired_difference(second, first, count)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


def test_a_paired_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    count, worse, better = 60, 0.10, 0.04
    drawn = generator.multinomial(count, (worse, better, 1 - worse - better), 2000)
    intervals = [paired_difference(int(first), int(second), count) for first, second, _ in drawn]
    held = np.mean([each.low <= worse - better <= each.high for each in intervals])
    assert 0.93 <= held <= 0.98


def test_a_bootstrapped_interval_is_about_two_standard_errors_wide_and_the_same_for_a_seed():
    values = np.random.default_rng(1).normal(3.0, 2.0, 200)
    found = bootstrapped(lambda rows: float(values[rows].mean()), len(values), seed=5)
    assert found.value == values.mean()
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.15)
    assert bootstrapped(lambda rows: float(values[rows].mean()), len(values), seed=5) == found


def test_four_times_the_samples_halve_an_interval():
    assert samples_needed(Interval(0.0, -1.0, 1.0), 100, limit=1.0) == 0
    assert samples_needed(Interval(0.0, -2.0, 2.0), 100, limit=1.0) == 400
    assert samples_needed(Interval(0.5, -1.5, 2.5), 100, limit=1.0) == 1600
