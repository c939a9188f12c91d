import math

import numpy as np
import pytest

from device_runtime.cameras.belt_parts import PART_LABELS, draw_part


def longest_gap_deg(coverage, radius):
    """The widest angle without metal on a circle about the middle."""
    angles = np.radians(np.arange(0, 720, 0.5))  # twice round, so that a gap across 0 is seen whole
    middle = (coverage.shape[0] - 1) / 2
    rows = np.rint(middle + radius * np.sin(angles)).astype(int)
    columns = np.rint(middle + radius * np.cos(angles)).astype(int)
    longest = current = 0
    for metal in coverage[rows, columns] > 0.5:
        current = 0 if metal else current + 1
        longest = max(longest, current)
    return longest / 2


@pytest.mark.parametrize("label", range(len(PART_LABELS)))
def test_a_part_fits_its_picture_and_is_as_large_as_asked(label):
    for seed in range(6):
        sprite = draw_part(label, 100.0, 225.0, np.random.default_rng(seed))
        rows, columns = np.nonzero(sprite.coverage > 0.5)
        reach = np.hypot(rows - rows.mean(), columns - columns.mean()).max()

        assert sprite.colour.shape == (*sprite.coverage.shape, 3)
        assert sprite.colour.dtype == np.uint8
        assert not sprite.coverage[[0, -1]].any()
        assert not sprite.coverage[:, [0, -1]].any()
        assert 40 < reach < 72


def test_a_whole_gear_has_teeth_all_round_and_a_broken_one_lacks_some():
    for seed in range(12):
        whole = draw_part(PART_LABELS.index("gear"), 110.0, 225.0, np.random.default_rng(seed))
        broken = draw_part(PART_LABELS.index("broken-gear"), 110.0, 225.0, np.random.default_rng(seed))

        assert longest_gap_deg(whole.coverage, 51) < 30
        assert longest_gap_deg(broken.coverage, 51) > 60


@pytest.mark.parametrize("label", ["nut", "washer"])
def test_a_part_with_a_bore_shows_what_is_below(label):
    coverage = draw_part(PART_LABELS.index(label), 60.0, 225.0, np.random.default_rng(1)).coverage

    assert coverage[coverage.shape[0] // 2, coverage.shape[1] // 2] == 0.0


def test_the_side_towards_the_light_is_the_brighter_one():
    gear = PART_LABELS.index("gear")

    def halves(light_deg):
        sprite = draw_part(gear, 120.0, light_deg, np.random.default_rng(4))
        # Round the rim: where the edge slopes towards the light or away from it.
        rows, columns = np.nonzero(sprite.coverage > 0.9)
        middle = (sprite.coverage.shape[0] - 1) / 2
        away = np.hypot(rows - middle, columns - middle)
        edge = away > 0.93 * 60
        grey = sprite.colour.mean(axis=2)[rows[edge], columns[edge]]
        towards = (columns[edge] - middle) * math.cos(math.radians(light_deg)) + (rows[edge] - middle) * math.sin(
            math.radians(light_deg)
        )
        return grey[towards > 20].mean(), grey[towards < -20].mean()

    for light_deg in (0.0, 90.0, 180.0, 270.0):
        lit, dark = halves(light_deg)
        assert lit > dark
