"""What is broken on the way of a conversion is caught before a file is written.

Files in between are changed while a conversion runs, from the callback that hears of its steps.
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from converters import convert
from converters.describe import spec_beside
from converters.errors import ConversionError
from converters.interface import ConvertRequest, PrepOptions
from converters.ranges import read_ranges, write_ranges
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import Step
from device_runtime.errors import EdgeError, ModelError


@pytest.fixture
def converted(fake, trained, tmp_path, monkeypatch):
    """Convert while ``change`` is done to a file in between when a step begins; nothing may be written then."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    out = tmp_path / "out.tflite"

    def run(recipe, step, name, change):
        changed = []

        def meddle(event):
            if isinstance(event, Step) and event.title.startswith(step) and not changed:
                (path,) = temporary.glob(f"edgekit-convert-*/{name}")
                change(path)
                changed.append(path)

        prep = PrepOptions(mean=(127.5,), std=(127.5,))
        request = ConvertRequest(fake(), out, recipe, trained / "pictures", prep=prep, samples=16)
        try:
            result = convert(request, meddle)
        finally:
            assert changed, f"no step {step!r} with a file {name}"
            assert list(temporary.iterdir()) == []
        return result

    yield run
    assert not out.exists()
    assert not spec_beside(out).exists()


def rewritten(change):
    """A change of a model's tables."""

    def apply(path):
        model = unpack(path.read_bytes())
        change(model)
        path.write_bytes(pack(model))

    return apply


def old_versions(model):
    for code in model.operatorCodes:
        code.version = 1


def constants(model):
    """The stored values of convolutions and dense layers."""
    for tensor in model.subgraphs[0].tensors:
        buffer = model.buffers[tensor.buffer]
        rank = 0 if tensor.shape is None else len(tensor.shape)
        if buffer.data is not None and tensor.type != schema.TensorType.INT32 and rank in (2, 4):
            yield buffer


def no_weights(model):
    for buffer in constants(model):
        buffer.data = np.zeros_like(buffer.data)


def shuffled_weights(model):
    generator = np.random.default_rng(0)
    for buffer in constants(model):
        buffer.data = generator.permutation(np.array(buffer.data).view(np.float32)).view(np.uint8)


def test_nothing_is_caught_where_nothing_is_changed(converted):
    """Else what follows would prove nothing."""
    result = converted("static-int8", "write", "final.tflite", lambda path: path.read_bytes())
    assert result.parity["litert"].agreement == 1.0
    result.tflite.unlink()
    result.spec_path.unlink()


@pytest.mark.parametrize("recipe", ["static-int8", "dynamic-int8"])
def test_operator_versions_that_are_too_low_are_caught(converted, recipe):
    with pytest.raises(ConversionError, match="states version 1, its types need"):
        converted(recipe, f"run the {recipe} model", "final.tflite", rewritten(old_versions))


@pytest.mark.parametrize("change", [no_weights, shuffled_weights])
@pytest.mark.parametrize("recipe", ["static-int8", "weight-only-int8"])
def test_dropped_and_shuffled_weights_are_caught(converted, recipe, change):
    with pytest.raises(ConversionError, match=f"the {recipe} model on litert is not the trained model any more"):
        converted(recipe, "apply recipe", "float.tflite", rewritten(change))


def scaled(factor, *, only_input=False):
    def apply(path):
        ranges = read_ranges(path)
        for name, found in ranges.items():
            if name == "image" or not only_input:
                found |= {kind: found[kind] * np.float32(factor) for kind in ("min", "max")}
        write_ranges(path, ranges)

    return apply


@pytest.mark.parametrize("factor", [1 / 255, 255, 127.5])
def test_a_calibration_with_another_normalisation_is_caught(converted, factor):
    """0–255 into a model of -1..1, and the other way round: no quantiser complains."""
    with pytest.raises(ConversionError, match="the pictures were normalised otherwise than the model's input is"):
        converted("static-int8", "apply recipe", "ranges.npz", scaled(factor, only_input=True))


def hidden(factor):
    """All ranges but the input's are wrong."""

    def apply(path):
        ranges = read_ranges(path)
        kept = dict(ranges["image"])
        scaled(factor)(path)
        write_ranges(path, read_ranges(path) | {"image": kept})

    return apply


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_ranges_of_another_size_are_caught(converted, factor):
    with pytest.raises(ConversionError, match="is not the trained model any more"):
        converted("static-int8", "apply recipe", "ranges.npz", hidden(factor))


def one_byte(position):
    def apply(path):
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return apply


@pytest.mark.parametrize("step", ["write", "run the static-int8 model"])
@pytest.mark.parametrize("position", [0.0, 0.4, 0.7, 1.0])
def test_one_wrong_byte_of_the_result_is_caught(converted, step, position):
    """Wherever it is, and when it changes nothing that can be seen in the outputs as well."""
    with pytest.raises(EdgeError) as caught:
        converted("static-int8", step, "final.tflite", one_byte(position))
    assert isinstance(caught.value, (ConversionError, ModelError))


def test_half_a_model_is_caught(converted):
    def cut(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(EdgeError):
        converted("static-int8", "apply recipe", "float.tflite", cut)


def test_a_result_that_is_missing_is_caught(converted):
    with pytest.raises(EdgeError):
        converted("static-int8", "run the static-int8 model", "final.tflite", Path.unlink)
