import numpy as np
import pytest

from converters.arrays import open_array
from converters.backends.interface import InputFacts
from converters.tensor_samples import collect_tensors, generate_tensors
from device_runtime.contract.events import Notice
from device_runtime.errors import BadFileError

TWO = (InputFacts("sound", (1, 4, 2)), InputFacts("speed", (1, 3), "int32"))
ONE = (InputFacts("sound", (1, 4, 2)),)


def sample(index):
    generator = np.random.default_rng(index)
    return {"sound": generator.normal(size=(4, 2)), "speed": generator.integers(0, 90, (1, 3))}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "samples"
    (made / "deep").mkdir(parents=True)
    return made


def fill(folder, make=sample, count=20):
    for index in range(count):
        np.savez(folder / ("deep" if index % 2 else ".") / f"{index:02d}.npz", **make(index))


def collected(folder, tmp_path, inputs=TWO, count=100, seed=0):
    """The samples and the warnings."""
    heard = []
    samples = collect_tensors(folder, inputs, count, seed, tmp_path / "s.npy", heard.append)
    return samples, [event.message for event in heard if isinstance(event, Notice)]


def test_each_file_is_a_sample_with_or_without_the_batch(folder, tmp_path):
    fill(folder)
    samples, warnings = collected(folder, tmp_path)
    sound, speed = (open_array(path) for path in samples.paths)
    assert (sound.shape, sound.dtype, speed.shape, speed.dtype) == ((20, 4, 2), np.float32, (20, 3), np.int32)
    assert warnings == []
    for name, one, two in zip(samples.names, sound, speed, strict=True):
        wanted = sample(int(name.rpartition("/")[2][:2]))
        assert np.array_equal(one, wanted["sound"].astype(np.float32))
        assert np.array_equal(two, wanted["speed"][0])


def test_the_seed_chooses_the_samples(folder, tmp_path):
    fill(folder)
    first, again, other = (collected(folder, tmp_path, count=5, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert len(first.names) == 5
    assert set(first.names) != set(other.names)


def test_a_single_input_may_have_npy_files(folder, tmp_path):
    for index in range(16):
        np.save(folder / f"{index}.npy", sample(index)["sound"])
    samples, warnings = collected(folder, tmp_path, ONE)
    assert (len(samples.names), warnings) == (16, [])


def test_npy_files_do_not_say_which_of_two_inputs_they_are(folder, tmp_path):
    np.save(folder / "0.npy", sample(0)["sound"])
    with pytest.raises(BadFileError, match=r"the inputs sound, speed: expected an \.npz file"):
        collected(folder, tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"speed": None}, "expected the keys sound, speed: speed missing"),
        ({"spead": np.zeros(3)}, "expected the keys sound, speed: spead unknown"),
        ({"sound": np.zeros((5, 2))}, r"input sound: expected one sample of shape \[4, 2\], got \[5, 2\]"),
        ({"sound": np.zeros((20, 4, 2))}, r"expected one sample of shape \[4, 2\], got \[20, 4, 2\]"),
        ({"speed": np.zeros(3, np.float32)}, "input speed: expected int32 values, got float32"),
        ({"speed": np.full(3, 1 << 40)}, "holds numbers that int32 cannot hold"),
        ({"sound": np.full((4, 2), np.nan)}, "holds NaN or infinity"),
        ({"sound": np.full((4, 2), 1e300)}, "holds NaN or infinity"),
        ({"sound": np.full((4, 2), "x")}, "expected float32 values, got str"),
    ],
)
def test_a_file_that_is_no_sample_of_this_model_ends_it(folder, tmp_path, change, says):
    fill(folder)
    content = {key: value for key, value in (sample(99) | change).items() if value is not None}
    np.savez(folder / "99.npz", **content)
    with pytest.raises(BadFileError, match=says) as caught:
        collected(folder, tmp_path)
    assert "99.npz" in str(caught.value)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_python_objects_are_never_loaded(folder, tmp_path):
    fill(folder)
    np.savez(folder / "objects.npz", sound=np.array([Bomb()], object), speed=np.zeros(3, int))
    np.save(folder / "objects.npy", np.array([Bomb()], object))
    samples, warnings = collected(folder, tmp_path, TWO)
    assert samples.skipped == ("objects.npy", "objects.npz")
    assert sum("Python objects" in warning and "never loaded" in warning for warning in warnings) == 2


@pytest.mark.parametrize("damage", [b"", b"no array", "cut", "flipped"])
def test_a_corrupt_file_is_named_and_left_out(folder, tmp_path, damage):
    fill(folder)
    whole = (folder / "00.npz").read_bytes()
    flipped = whole.replace(b"NUMPY", b"NUMBY")
    (folder / "bad.npz").write_bytes({"cut": whole[: len(whole) // 2], "flipped": flipped}.get(damage, damage))
    samples, warnings = collected(folder, tmp_path)
    assert samples.skipped == ("bad.npz",)
    assert len(samples.names) == 20
    assert any("bad.npz" in warning for warning in warnings)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_samples_without_any_variety_are_refused(folder, tmp_path, value):
    def plain(index):
        del index
        return {"sound": np.full((4, 2), value), "speed": np.full(3, int(value))}

    fill(folder, plain)
    with pytest.raises(BadFileError, match=f"nothing to measure on: sound is {value:g} everywhere"):
        collected(folder, tmp_path)


def test_one_input_that_never_changes_is_warned_of(folder, tmp_path):
    fill(folder, lambda index: sample(index) | {"speed": np.full(3, 7)})
    _, warnings = collected(folder, tmp_path)
    assert [warning for warning in warnings if "input speed is 7 in all samples" in warning]


def test_pixels_that_nobody_normalised_are_warned_of(folder, tmp_path):
    fill(folder, lambda index: sample(index) | {"sound": np.random.default_rng(index).integers(0, 256, (4, 2)) * 1.0})
    _, warnings = collected(folder, tmp_path)
    assert [warning for warning in warnings if "input sound holds whole numbers of 0–255 only" in warning]


def test_equal_samples_count_once_and_few_are_warned_of(folder, tmp_path):
    fill(folder, lambda index: sample(index % 12))
    samples, warnings = collected(folder, tmp_path)
    assert len(samples.names) == 12
    assert any("8 samples" in warning and "equal to others" in warning for warning in warnings)
    assert any("only 12 different samples" in warning for warning in warnings)


@pytest.mark.parametrize(("present", "says"), [(True, "has no .npz or .npy files"), (False, "expected a folder")])
def test_a_folder_without_samples_is_an_error(folder, tmp_path, present, says):
    with pytest.raises(BadFileError, match=says):
        collected(folder if present else tmp_path / "absent", tmp_path)


def test_generated_samples_have_the_inputs_types_and_repeat(tmp_path):
    one, two = (generate_tensors(TWO, 3, tmp_path / name) for name in ("a.npy", "b.npy"))
    for first, second, tensor in zip(one.paths, two.paths, TWO, strict=True):
        array = open_array(first)
        assert (array.shape, array.dtype) == ((16, *tensor.shape[1:]), np.dtype(tensor.dtype))
        assert np.array_equal(array, open_array(second))
        assert array.std() > 0
