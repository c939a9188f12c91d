"""The matching with the largest gain, against trying all of them."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from device_runtime.tracking.assignment import assign

gains = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    elements=st.floats(-1, 1, width=32) | st.sampled_from([0.0, 0.5]),
)


def best_of_all(table):
    """Return the largest gain of any matching."""
    if table.shape[0] > table.shape[1]:
        table = table.T
    count, width = table.shape
    choices = itertools.permutations(range(width), count)
    return max(sum(max(0.0, table[row, column]) for row, column in enumerate(choice)) for choice in choices)


@given(gains)
def test_no_other_matching_gains_more_and_each_is_paired_once(table):
    pairs = assign(table)
    assert all(table[pair] > 0 for pair in pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert pairs == sorted(pairs)
    assert abs(sum(table[pair] for pair in pairs) - best_of_all(table)) < 1e-9


def test_a_smaller_gain_of_one_makes_room_for_another():
    assert assign(np.array([[0.9, 0.8], [0.8, 0.0]])) == [(0, 1), (1, 0)]


def test_nobody_is_paired_without_a_gain():
    assert assign(np.array([[0.0, -1.0], [-0.5, 0.0]])) == []
    assert assign(np.empty((0, 3))) == []
    assert assign(np.empty((3, 0))) == []
