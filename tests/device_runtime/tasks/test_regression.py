"""The values decoder."""

import numpy as np
import pytest

from device_runtime.contract.model import ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.placement import plan_placement

OUTPUTS = (TensorSpec("speed", (1, 2), "float32"), TensorSpec("angle", (1, 1, 2), "int8", 0.5, 10))


def spec_of(outputs=OUTPUTS, labels=(), **task):
    image = TensorSpec("in", (1, 4, 4, 3), "uint8")
    return ModelSpec("m", TaskSpec("regression", "values", **task), ImagePrep(4, 4), (image,), outputs, labels)


def tensors(speed=(1.5, -2.0)):
    return [np.array([speed], np.float32), np.array([[[10, -10]]], np.int8)]


def test_values_of_all_outputs_stand_in_a_row_as_what_they_stand_for():
    spec = spec_of()
    assert decoder_of(spec)(tensors(), spec).numbers.tolist() == [1.5, -2.0, 0.0, -10.0]


def test_items_have_the_names_of_the_labels_and_no_score():
    spec = spec_of(labels=("x", "y", "pan", "tilt"), max_items=3)
    items = decoder_of(spec)(tensors(), spec).items(spec, plan_placement(spec.image_prep, 8, 8))
    assert [(item.label, item.value) for item in items] == [("x", 1.5), ("y", -2.0), ("pan", 0.0)]
    assert {item.score for item in items} == {None}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(value):
    spec = spec_of()
    with pytest.raises(ModelError, match="output speed: expected finite numbers"):
        decoder_of(spec)(tensors((0.0, value)), spec)
