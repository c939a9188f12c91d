"""Samples that are split: no set knows another's, whatever their names are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.arrays import ArrayWriter, open_array
from converters.calibration import Samples
from converters.sets import LEAST, MOST, digests, plan_split, subset, unseen
from device_runtime.errors import BadFileError


@pytest.fixture
def samples(tmp_path):
    """Six samples of two inputs; the last one has the values of the first."""
    paths = (tmp_path / "one.npy", tmp_path / "two.npy")
    with ArrayWriter(paths[0], (2,), np.float32) as one, ArrayWriter(paths[1], (1,), np.uint8) as two:
        for value in (0, 1, 2, 3, 4, 0):
            one.append(np.array([value, value + 0.5], np.float32))
            two.append(np.array([value], np.uint8))
    return Samples(paths, tuple(f"sample-{index}" for index in range(6)))


@given(st.lists(st.sampled_from("abc"), min_size=LEAST, max_size=200), st.integers(0, 300))
def test_a_split_takes_each_sample_once_and_at_most_half_to_calibrate(groups, wanted):
    split = plan_split(groups, wanted)
    taken = [*split.calibration, *split.evaluation, *split.held_out]
    assert sorted(taken) == list(range(len(groups)))
    assert len(split.calibration) == min(wanted, len(groups) // 2)
    assert abs(len(split.evaluation) - len(split.held_out)) <= 1
    assert plan_split(groups, wanted) == split


def test_each_set_gets_its_share_of_every_group():
    groups = ["a"] * 80 + ["b"] * 20
    for rows in vars(plan_split(groups, 40)).values():
        share = sum(groups[row] == "b" for row in rows) / len(rows)
        assert share == pytest.approx(0.2, abs=0.04)


def test_large_sets_are_cut_off():
    split = plan_split(["x"] * 5000, 100)
    assert (len(split.evaluation), len(split.held_out)) == (MOST, MOST)


def test_too_few_samples_cannot_be_split():
    with pytest.raises(BadFileError, match="expected 12 or more, got 11"):
        plan_split(["x"] * 11, 5)


def test_a_subset_has_its_own_files_and_names(samples, tmp_path):
    chosen = subset(samples, (4, 1), tmp_path / "some.npy")
    assert chosen.names == ("sample-4", "sample-1")
    assert open_array(chosen.paths[0]).tolist() == [[4, 4.5], [1, 1.5]]
    assert open_array(chosen.paths[1]).tolist() == [[4], [1]]


def test_a_sample_is_known_by_its_values_whatever_its_name(samples):
    assert len(digests(samples)) == 5
    assert unseen(samples, range(6), set()) == [0, 1, 2, 3, 4]
    assert unseen(samples, range(6), digests(samples, (5, 2))) == [1, 3, 4]
