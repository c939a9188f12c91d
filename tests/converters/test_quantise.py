"""Recipes on models made from the schema; the quantiser runs in the child process, as it always does."""

import numpy as np
import pytest

from converters.arrays import ArrayWriter, open_array
from converters.errors import ConversionError
from converters.jobs import InputEncoding, Outputs, RunModel
from converters.process import open_worker
from converters.recipe import RECIPES
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep
from tests.support.quantising import quantise
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier

SIDE = 64
UNIT = ImagePrep(SIDE, SIDE, std=(255.0,))


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.npy"
    with ArrayWriter(path, (SIDE, SIDE, 3), np.uint8) as writer:
        for pixels in np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8):
            writer.append(pixels)
    return path


def quantised(content, recipe, samples, folder, names=("scores",), order=(0,)):
    source = folder / "float.tflite"
    source.write_bytes(content)
    encoding = InputEncoding(1 / 255, 0)
    target = folder / f"{recipe}.tflite"
    return quantise(source, target, recipe, [samples], UNIT, encoding=encoding, outputs=names, order=order)


def answers(model, samples, folder, engine="auto"):
    with open_worker(folder, silent) as worker:
        job = RunModel(str(model), UNIT, (str(samples),), str(folder), engine)
        return np.array(open_array(worker.call(job, Outputs, "run").files[0]))


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_model_of_more_than_256_kb_keeps_its_weights(samples, tmp_path, engine, recipe):
    """From 256 KB of weights on, the quantiser stores them behind the tables of the file."""
    content = classifier(size=(SIDE, SIDE), classes=100, last="LOGISTIC")
    made = quantised(content, recipe, samples, tmp_path)
    wanted = answers(tmp_path / "float.tflite", samples, tmp_path)
    got = answers(made, samples, tmp_path, engine)
    assert np.abs(wanted - got).max() < 0.05
    assert max(tensor.constant_bytes for tensor in read_tflite(made).main.tensors) > 256 << 10


def test_outputs_come_in_the_wanted_order_under_the_wanted_names(samples, tmp_path):
    tensors = [
        Tensor("in", (1, SIDE, SIDE, 3)),
        Tensor("one", (1, SIDE, SIDE, 3)),
        Tensor("two", (1, SIDE, SIDE, 3)),
    ]
    content = build(Net(tensors, [Op("LOGISTIC", [0], [1]), Op("TANH", [0], [2])], outputs=[1, 2]))
    made = quantised(content, "float32", samples, tmp_path, names=("first", "second"), order=(1, 0))
    info = read_tflite(made)
    assert [tensor.name for tensor in info.inputs] == ["image"]
    assert [tensor.name for tensor in info.outputs] == ["second", "first"]
    assert [info.producer(index).name for index in info.main.outputs] == ["TANH", "LOGISTIC"]


def test_another_number_of_outputs_is_no_conversion_of_the_same_model(samples, tmp_path):
    content = classifier(size=(SIDE, SIDE))
    with pytest.raises(ConversionError, match="expected 2 outputs in the exported model, got 1"):
        quantised(content, "float32", samples, tmp_path, names=("one", "two"), order=(0, 1))
