"""A finished file is small and described; the float one is what others are compared with."""

import dataclasses

import pytest

from converters.describe import describe_tflite
from converters.interface import PrepOptions, TaskOptions
from converters.jobs import Done, Finish
from converters.process import open_worker
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep, ModelSpec, Provenance, TaskSpec, TensorSpec
from tests.support.layered_tflite import CLASSES, INPUT_SHAPE, SIDE, layered

SPEC = ModelSpec(
    "layered",
    TaskSpec("classification", "probabilities"),
    ImagePrep(SIDE, SIDE, mean=(0.0,), std=(255.0,)),
    (TensorSpec("image", INPUT_SHAPE, "float32"),),
    (TensorSpec("scores", (1, CLASSES), "float32"),),
)


@pytest.mark.parametrize(("recipe", "named"), [("float32", 17), ("float16", 2)])
def test_the_float_model_keeps_its_layers_names_and_each_file_its_description(tmp_path, recipe, named):
    source, target = tmp_path / "made.tflite", tmp_path / "final.tflite"
    source.write_bytes(layered())
    spec = dataclasses.replace(SPEC, provenance=Provenance("a.keras", "ab" * 32, recipe))
    with open_worker(tmp_path, silent) as worker:
        worker.call(Finish(str(source), str(target), spec), Done, "finish")
    assert sum(1 for tensor in read_tflite(target).main.tensors if tensor.name) == named
    assert describe_tflite(target, PrepOptions(), TaskOptions(), None) == spec
