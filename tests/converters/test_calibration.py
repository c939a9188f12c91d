import numpy as np
import pytest
from PIL import Image

from converters.arrays import open_array
from converters.calibration import collect_samples, generate_samples
from device_runtime.contract.events import silent
from device_runtime.contract.model import Colour, ImagePrep
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


def test_samples_are_prepared_as_the_board_prepares_frames_and_not_normalised(folder, tmp_path):
    samples = collect_samples(folder, PREP, 100, 0, tmp_path / "s.npy", silent)
    stored = open_array(samples.path)
    assert (stored.shape, stored.dtype, len(samples.names)) == ((10, 4, 6, 3), np.uint8, 10)
    for name, pixels in zip(samples.names, stored, strict=True):
        assert np.array_equal(pixels, prepare_bytes(read_picture(folder / name), PREP))


def test_the_seed_chooses_the_pictures(folder, tmp_path):
    def chosen(seed):
        return collect_samples(folder, PREP, 4, seed, tmp_path / "s.npy", silent)

    assert chosen(1) == chosen(1)
    assert len(chosen(1).names) == 4
    assert chosen(1).names != chosen(2).names


def test_a_bad_picture_is_replaced_by_another_one(folder, tmp_path):
    (folder / "bad.jpg").write_bytes(b"bad")
    samples = collect_samples(folder, PREP, 10, 0, tmp_path / "s.npy", silent)
    assert len(samples.names) == 10
    assert "bad.jpg" not in samples.names


@pytest.mark.parametrize("colour", [Colour.RGB, Colour.GRAY])
def test_generated_pictures_differ_and_repeat(tmp_path, colour):
    prep = ImagePrep(5, 7, colour)
    one, two = (generate_samples(prep, 3, tmp_path / name) for name in ("a.npy", "b.npy"))
    first = open_array(one.path)
    assert first.shape == (16, 7, 5, colour.channels)
    assert np.array_equal(first, open_array(two.path))
    assert len(np.unique(first.reshape(16, -1), axis=0)) == 16
