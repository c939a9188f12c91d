import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.cameras.belt_scene import (
    PART_LABELS,
    BeltConfig,
    BeltLook,
    BeltScene,
    random_look,
    render_still,
)

SMALL = BeltConfig(width=160, height=120, frames_long=3, speed_px=4.0)
PERIOD = 120  # frames until the same parts come round: 3 x 160 px at 4 px per frame


@pytest.fixture(scope="module")
def scene():
    return BeltScene(SMALL)


configs = st.builds(
    BeltConfig,
    width=st.integers(160, 240),
    height=st.integers(120, 160),
    seed=st.integers(0, 2**32),
    speed_px=st.floats(-30, 30),
    frames_long=st.integers(1, 3),
    density=st.floats(0, 3),
    look=st.integers(0, 1000).map(lambda seed: random_look(np.random.default_rng(seed))),
)


def assert_parts_lie_in_the_frame(parts, width, height):
    for part in parts:
        x1, y1, x2, y2 = part.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert 0 <= part.label < len(PART_LABELS)


@settings(max_examples=25, deadline=None)
@given(config=configs, index=st.integers(0, 10**9))
def test_any_frame_of_any_belt_is_a_picture_with_its_parts_inside(config, index):
    pixels, parts = BeltScene(config).render(index)

    assert pixels.shape == (config.height, config.width, 3)
    assert pixels.dtype == np.uint8
    assert_parts_lie_in_the_frame(parts, config.width, config.height)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_any_still_is_a_picture_with_its_parts_inside(seed):
    pixels, parts = render_still(seed, 160, 120)

    assert pixels.shape == (120, 160, 3)
    assert_parts_lie_in_the_frame(parts, 160, 120)


@settings(max_examples=10, deadline=None)
@given(index=st.integers(0, 10**6))
def test_a_frame_depends_on_the_seed_and_the_index_alone(scene, index):
    scene.render(index + 17)
    again, parts_again = scene.render(index)
    fresh, parts_fresh = BeltScene(SMALL).render(index)

    assert np.array_equal(again, fresh)
    assert parts_again == parts_fresh


def test_another_seed_is_another_belt(scene):
    other = BeltScene(dataclasses.replace(SMALL, seed=1))

    assert scene.render(0)[1] != other.render(0)[1]


def test_a_still_is_the_same_for_its_seed_and_another_for_another():
    one, parts = render_still(7, 160, 120)
    same, same_parts = render_still(7, 160, 120)
    other, _ = render_still(8, 160, 120)

    assert np.array_equal(one, same)
    assert parts == same_parts
    assert not np.array_equal(one, other)


def test_parts_move_with_the_belt(scene):
    def inside(index):
        return {part for part in scene.render(index)[1] if part.box[0] > 10 and part.box[2] < SMALL.width - 10}

    moved = 0
    for index in range(0, PERIOD, 5):
        later = scene.render(index + 1)[1]
        for part in inside(index):
            x1, y1, x2, y2 = part.box
            assert dataclasses.replace(part, box=(x1 + 4.0, y1, x2 + 4.0, y2)) in later
            moved += 1
    assert moved > 10


def test_the_belt_is_a_loop(scene):
    for index in (0, 41, 97):
        assert scene.render(index)[1] == scene.render(index + PERIOD)[1]


def test_every_part_is_listed_as_long_as_enough_of_it_shows_wherever_the_joint_is():
    config = dataclasses.replace(SMALL, speed_px=1.0)
    slow = BeltScene(config)
    loop = config.width * config.frames_long
    listed = Counter()
    widths = Counter()
    for index in range(loop):
        for part in slow.render(index)[1]:
            name = (part.label, part.box[1], part.box[3])
            listed[name] += 1
            widths[name] = max(widths[name], part.box[2] - part.box[0])

    assert len(listed) > 10
    for name, frames in listed.items():
        # From 40% in at the left to 60% out at the right.
        assert frames == pytest.approx(config.width + 0.2 * widths[name], abs=2)


def test_the_sensor_noise_is_fresh_in_every_frame():
    still = BeltScene(dataclasses.replace(SMALL, speed_px=0.0, look=BeltLook(noise=5.0)))
    one, other = (still.render(index)[0].astype(int) for index in (3, 4))

    assert still.render(3)[1] == still.render(4)[1]
    # Two independent noises of 5 differ by 7; the flicker alone would differ by less than 1.
    assert (one - other).std() > 5


def test_all_kinds_of_parts_pass_by(scene):
    seen = {part.label for index in range(0, PERIOD, 10) for part in scene.render(index)[1]}

    assert {PART_LABELS[label] for label in seen} == set(PART_LABELS)


def test_a_box_holds_its_part_tightly():
    # On a clean, sharp, evenly lit picture metal is what is brighter than the bare belt.
    look = BeltLook(falloff=0.0, blur_px=0.0, noise=0.0, wear=0.0, rails=False)
    off = []
    for seed in range(6):
        pixels, parts = BeltScene(BeltConfig(seed=seed, frames_long=1, density=0.4, look=look)).render(0)
        metal = pixels.sum(axis=2) > 1.4 * np.median(pixels.sum(axis=2))
        for part in parts:
            x1, y1, x2, y2 = (int(side) for side in part.box)
            if not is_alone(part, parts, 640, 480):
                continue
            columns = np.flatnonzero(metal[y1 - 9 : y2 + 9, x1 - 9 : x2 + 9].sum(axis=0) > 1) + x1 - 9
            rows = np.flatnonzero(metal[y1 - 9 : y2 + 9, x1 - 9 : x2 + 9].sum(axis=1) > 1) + y1 - 9
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            off.append(found - [x1, y1, x2, y2])
    assert len(off) > 10
    # The flanks that face away from the light are no brighter than the belt.
    assert np.abs(np.median(off, axis=0)).max() <= 4
    assert np.median(np.abs(off)) <= 2


def is_alone(part, parts, width, height):
    """Whether there are 10 px of belt all round."""
    x1, y1, x2, y2 = part.box
    if min(x1, y1) < 10 or x2 > width - 10 or y2 > height - 10:
        return False
    return not any(
        other.box[0] < x2 + 10 and other.box[2] > x1 - 10 and other.box[1] < y2 + 10 and other.box[3] > y1 - 10
        for other in parts
        if other is not part
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 100},
        {"width": 160, "height": 320},
        {"speed_px": float("nan")},
        {"speed_px": 1000.0},
        {"frames_long": 0},
        {"density": -1.0},
        {"seed": -1},
    ],
)
def test_a_belt_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        BeltConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"brightness": 0.0}, {"falloff": 2.0}, {"noise": -1.0}, {"blur_px": 99.0}])
def test_a_look_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        BeltLook(**wrong)
