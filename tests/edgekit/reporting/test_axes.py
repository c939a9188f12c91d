"""Axes have round marks at their places."""

import pytest

from edgekit.reporting.axes import memory, milliseconds, nice_step, ticks


@pytest.mark.parametrize(
    ("value", "text"), [(0.0042, "0.004"), (0.358, "0.358"), (1.634, "1.63"), (12.44, "12.4"), (1234.5, "1234")]
)
def test_latencies_have_three_digits(value, text):
    assert milliseconds(value) == text


@pytest.mark.parametrize(("span", "count", "step"), [(10, 5, 2), (11, 5, 2.5), (0.3, 4, 0.1), (900, 6, 200)])
def test_steps_are_round(span, count, step):
    assert nice_step(span, count) == pytest.approx(step)


def test_ticks_are_round_numbers_at_their_places():
    assert [(tick.at, tick.label) for tick in ticks(0, 30, 3)] == [
        (0, "0"),
        (pytest.approx(33.333), "10"),
        (pytest.approx(66.667), "20"),
        (100, "30"),
    ]
    assert [tick.label for tick in ticks(10, 12.5, 4)] == ["10", "11", "12"]
    assert [tick.label for tick in ticks(0, 0.1, 4)] == ["0.000", "0.025", "0.050", "0.075", "0.100"]


def test_sizes_are_written_in_the_unit_that_says_more():
    assert [memory(count) for count in (98_700_000, 254_800, 12_340)] == ["98.7 MB", "255 KB", "12.3 KB"]
