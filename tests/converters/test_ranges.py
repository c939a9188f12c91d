import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters.arrays import ArrayWriter
from converters.errors import ConversionError
from converters.jobs import Calibrate
from converters.ranges import calibrate, read_ranges, whole, write_ranges
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep
from tests.support.tiny_tflite import Net, Op, Tensor, build

SHAPE = (1, 4, 4, 3)


@pytest.fixture
def measured(tmp_path):
    """The ranges of x, tanh(x) and the logistic of it, on rows of x."""

    def measure(rows, prep=None):
        content = build(
            Net(
                [Tensor("x", SHAPE), Tensor("mid", SHAPE), Tensor("out", SHAPE)],
                [Op("TANH", [0], [1]), Op("LOGISTIC", [1], [2])],
            )
        )
        (tmp_path / "model.tflite").write_bytes(content)
        with ArrayWriter(tmp_path / "rows.npy", rows.shape[1:], rows.dtype) as writer:
            for row in rows:
                writer.append(row)
        job = Calibrate(str(tmp_path / "model.tflite"), str(tmp_path / "r.npz"), (str(tmp_path / "rows.npy"),), prep)
        calibrate(job, silent)
        return read_ranges(tmp_path / "r.npz")

    return measure


def rows(count=21):
    return np.random.default_rng(0).normal(size=(count, *SHAPE[1:])).astype(np.float32)


def test_ranges_are_the_smallest_and_largest_values_of_each_channel(measured):
    values = rows()
    found = measured(values)
    logistic = 1 / (1 + np.exp(-np.tanh(values)))
    assert list(found) == ["x", "mid", "out"]
    for name, wanted in (("x", values), ("mid", np.tanh(values)), ("out", logistic)):
        assert found[name]["min"].shape == (1, 1, 1, 3)
        assert np.allclose(found[name]["min"].ravel(), wanted.min(axis=(0, 1, 2)), atol=1e-5)
        assert np.allclose(found[name]["max"].ravel(), wanted.max(axis=(0, 1, 2)), atol=1e-5)
        assert whole(found)[name]["max"].item() == found[name]["max"].max()
        assert whole(found)[name]["min"].shape == (1, 1, 1, 1)


def test_neither_the_order_of_samples_nor_their_number_per_interpreter_matters(measured):
    values = rows()
    first = measured(values)
    for order in (values[::-1], np.roll(values, 5, axis=0)):
        again = measured(order)
        assert all(np.array_equal(first[name][kind], again[name][kind]) for name in first for kind in ("min", "max"))


def test_one_sample_is_enough(measured):
    values = rows(1)
    assert measured(values)["x"]["max"].max() == values.max()


def test_pictures_are_normalised_on_the_way(measured):
    pictures = np.zeros((2, *SHAPE[1:]), np.uint8)
    pictures[1] = 255
    found = measured(pictures, ImagePrep(4, 4, mean=(127.5,), std=(127.5,)))
    assert (found["x"]["min"].min(), found["x"]["max"].max()) == (-1.0, 1.0)


def test_what_stands_for_infinity_takes_no_part(measured):
    values = rows()
    values[3, 0, 0, 0] = -3.3e38
    assert measured(values)["x"]["min"].min() == rows().min()


@pytest.mark.parametrize(("value", "says"), [(np.nan, "tensor x .* is NaN"), (np.inf, "tensor x .* is infinite")])
def test_what_is_no_number_is_an_error(measured, value, says):
    values = np.full((2, *SHAPE[1:]), value, np.float32)
    with pytest.raises(ConversionError, match=says):
        measured(values)


def test_ranges_of_any_names_come_back_from_their_file(tmp_path):
    ranges = {
        name: {"min": np.full((1, 2), -value, np.float32), "max": np.full((1, 2), value, np.float32)}
        for value, name in enumerate(("a/b;c:0", "0", "ü", "names"))
    }
    write_ranges(tmp_path / "r.npz", ranges)
    found = read_ranges(tmp_path / "r.npz")
    assert list(found) == list(ranges)
    assert all(np.array_equal(found[name][kind], ranges[name][kind]) for name in ranges for kind in ("min", "max"))


def test_no_sample_meets_the_state_that_another_one_left(tmp_path):
    """A recurrent layer adds up: x + 1 * state, so that a sample alone gives itself."""
    one = np.ones((1, 1), np.float32)
    tensors = [
        Tensor("x", (1, 1, 1)),
        Tensor("weights", (1, 1), values=one),
        Tensor("recurrent", (1, 1), values=one),
        Tensor("bias", (1,), values=np.zeros(1, np.float32)),
        Tensor("state", (1, 1)),
        Tensor("out", (1, 1, 1)),
    ]
    options = schema.BuiltinOptions.SequenceRNNOptions, schema.SequenceRNNOptionsT()
    model = unpack(build(Net(tensors, [Op("UNIDIRECTIONAL_SEQUENCE_RNN", [0, 1, 2, 3, 4], [5], options=options)])))
    model.subgraphs[0].tensors[4].isVariable = True
    (tmp_path / "model.tflite").write_bytes(pack(model))
    with ArrayWriter(tmp_path / "rows.npy", (1, 1), np.float32) as writer:
        for _ in range(12):
            writer.append(np.full((1, 1), 2, np.float32))
    job = Calibrate(str(tmp_path / "model.tflite"), str(tmp_path / "r.npz"), (str(tmp_path / "rows.npy"),), None)
    calibrate(job, silent)
    assert read_ranges(tmp_path / "r.npz")["out"]["max"].item() == 2
