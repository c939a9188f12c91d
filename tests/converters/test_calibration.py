import tracemalloc

import numpy as np
import pytest
from PIL import Image

from converters.arrays import open_array
from converters.calibration import collect_samples, generate_samples
from device_runtime.contract.events import Notice, silent
from device_runtime.contract.model import Colour, ImagePrep
from device_runtime.errors import BadFileError
from device_runtime.vision.picture import read_picture
from device_runtime.vision.prepare import prepare_bytes

PREP = ImagePrep(6, 4, mean=(9.0,), std=(3.0,))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pictures"
    (made / "deep").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(10):
        pixels = generator.integers(0, 256, (9, 11, 3), np.uint8)
        Image.fromarray(pixels).save(made / ("deep" if index % 2 else ".") / f"{index}.png")
    return made


@pytest.fixture
def pictures_of(tmp_path):
    """A folder of 4 x 6 pictures made by a function of their number."""

    def make(draw, count=20):
        made = tmp_path / "drawn"
        made.mkdir()
        for index in range(count):
            Image.fromarray(np.asarray(draw(index), np.uint8)).save(made / f"{index:03d}.png")
        return made

    return make


def collected(folder, tmp_path, count=100, seed=0, prep=PREP):
    """The samples and the warnings."""
    heard = []
    samples = collect_samples(folder, prep, count, seed, tmp_path / "s.npy", heard.append)
    return samples, [event.message for event in heard if isinstance(event, Notice)]


def noise(index, low=0, high=256):
    return np.random.default_rng(index).integers(low, high, (4, 6, 3))


def test_samples_are_prepared_as_the_board_prepares_frames_and_not_normalised(folder, tmp_path):
    samples, _ = collected(folder, tmp_path)
    stored = open_array(samples.paths[0])
    assert (stored.shape, stored.dtype, len(samples.names)) == ((10, 4, 6, 3), np.uint8, 10)
    for name, pixels in zip(samples.names, stored, strict=True):
        assert np.array_equal(pixels, prepare_bytes(read_picture(folder / name), PREP))


def test_the_seed_chooses_the_pictures(folder, tmp_path):
    def chosen(seed):
        return collected(folder, tmp_path, 4, seed)[0]

    assert chosen(1) == chosen(1)
    assert len(chosen(1).names) == 4
    assert chosen(1).names != chosen(2).names


def test_a_bad_picture_is_replaced_by_another_one(folder, tmp_path):
    (folder / "bad.jpg").write_bytes(b"bad")
    samples, warnings = collected(folder, tmp_path, 10)
    assert len(samples.names) == 10
    assert "bad.jpg" not in samples.names
    assert samples.skipped in ((), ("bad.jpg",))
    assert any("bad.jpg" in warning for warning in warnings) == bool(samples.skipped)


@pytest.mark.parametrize("colour", [Colour.RGB, Colour.GRAY])
def test_generated_pictures_differ_and_repeat(tmp_path, colour):
    prep = ImagePrep(5, 7, colour)
    one, two = (generate_samples(prep, 3, tmp_path / name) for name in ("a.npy", "b.npy"))
    first = open_array(one.paths[0])
    assert first.shape == (16, 7, 5, colour.channels)
    assert np.array_equal(first, open_array(two.paths[0]))
    assert len(np.unique(first.reshape(16, -1), axis=0)) == 16


def test_a_good_set_gives_no_warning(pictures_of, tmp_path):
    samples, warnings = collected(pictures_of(noise), tmp_path)
    assert (len(samples.names), warnings) == (20, [])


@pytest.mark.parametrize(("low", "high", "shade"), [(0, 1, "black"), (0, 8, "black"), (250, 256, "white")])
def test_black_and_white_sets_are_refused(pictures_of, tmp_path, low, high, shade):
    with pytest.raises(BadFileError, match=f"all {shade}"):
        collected(pictures_of(lambda index: noise(index, low, high)), tmp_path)


def test_a_set_of_plain_pictures_is_refused(pictures_of, tmp_path):
    with pytest.raises(BadFileError, match=r"each of its 20 pictures is of one colour only"):
        collected(pictures_of(lambda index: np.full((4, 6, 3), index * 10)), tmp_path)


def test_a_plain_picture_among_others_is_named(pictures_of, tmp_path):
    _, warnings = collected(pictures_of(lambda index: noise(index) if index else np.full((4, 6, 3), 90)), tmp_path)
    assert [warning for warning in warnings if "1 picture (000.png) of one colour only" in warning]


def test_pictures_with_few_levels_are_warned_of(pictures_of, tmp_path):
    """As of a set that was divided by 255 and saved again."""
    _, warnings = collected(pictures_of(lambda index: noise(index, 100, 140)), tmp_path)
    assert [warning for warning in warnings if "bytes 100–139 only" in warning]


def test_equal_pictures_count_once(pictures_of, tmp_path):
    samples, warnings = collected(pictures_of(lambda index: noise(index % 17)), tmp_path)
    assert len(samples.names) == 17
    assert [warning for warning in warnings if "3 pictures" in warning and "equal to others" in warning]


def test_too_few_pictures_are_warned_of(pictures_of, tmp_path):
    _, warnings = collected(pictures_of(noise, 15), tmp_path)
    assert [warning for warning in warnings if "only 15 different samples; give 100 or more" in warning]


@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "I;16", "P", "L"])
def test_pictures_of_any_depth_become_bytes(tmp_path, mode):
    folder = tmp_path / "odd"
    folder.mkdir()
    for index in range(16):
        deep = Image.fromarray(np.random.default_rng(index).integers(0, 65536, (4, 6)).astype(np.uint16))
        plain = Image.fromarray(noise(index).astype(np.uint8))
        made = deep if mode == "I;16" else plain.convert(mode)
        made.save(folder / f"{index}.{'tif' if mode == 'CMYK' else 'png'}")
    samples, warnings = collected(folder, tmp_path)
    stored = open_array(samples.paths[0])
    assert (stored.shape, stored.dtype, warnings) == ((16, 4, 6, 3), np.uint8, [])
    assert stored.max() > 200


def test_memory_does_not_grow_with_the_folder(pictures_of, tmp_path):
    folder = pictures_of(noise, 150)
    prep = ImagePrep(224, 224)
    collected(folder, tmp_path, 2, prep=prep)  # what is allocated once
    tracemalloc.start()
    try:
        collect_samples(folder, prep, 150, 0, tmp_path / "many.npy", silent)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    picture = 224 * 224 * 3
    assert (tmp_path / "many.npy").stat().st_size > 150 * picture
    assert peak < 30 * picture
