"""What a ModelSpec allows."""

import pytest

from device_runtime.contract.model import ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.errors import ModelError

VALUES = TaskSpec("regression", "values")
WEATHER = (TensorSpec("wind", (1, 3), "float32"), TensorSpec("rain", (1, 8, 2), "int8", 0.5))
POWER = (TensorSpec("power", (1, 1), "float32"), TensorSpec("spread", (1, 2), "float32"))


def test_a_model_without_a_picture_takes_tensors_and_says_so_when_it_is_given_one():
    spec = ModelSpec("turbine", VALUES, None, WEATHER, POWER)
    with pytest.raises(ModelError, match="turbine: expected a model that takes one picture") as caught:
        assert spec.image_prep
    assert "wind [1, 3] float32, rain [1, 8, 2] int8" in str(caught.value)
    assert caught.value.hint


def test_a_model_with_a_picture_gives_its_preparation():
    prep = ImagePrep(4, 6)
    spec = ModelSpec("m", VALUES, prep, (TensorSpec("in", (1, 6, 4, 3), "uint8"),), POWER)
    assert spec.image_prep is prep


@pytest.mark.parametrize(
    ("prep", "inputs", "task", "message"),
    [
        (None, (), VALUES, "inputs: expected 1 or more, got none"),
        (None, WEATHER, TaskSpec("classification", "logits"), "expected regression for a model without a picture"),
        (ImagePrep(4, 6), WEATHER, VALUES, "inputs: expected 1 image input, got 2"),
        (ImagePrep(4, 6), WEATHER[:1], VALUES, r"expected shape \[1, 6, 4, 3\] from its preparation"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(prep, inputs, task, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec("m", task, prep, inputs, POWER)


def test_values_are_named_one_by_one_over_all_outputs():
    names = ("power", "low", "high")
    spec = ModelSpec("m", VALUES, None, WEATHER, POWER, names)
    assert [spec.label_of(index) for index in range(4)] == [*names, "3"]
    with pytest.raises(ValueError, match="labels: expected 3 for output power, got 2"):
        ModelSpec("m", VALUES, None, WEATHER, POWER, names[:2])


@pytest.mark.parametrize("task", [("segmentation", "class-scores"), ("regression", "values")])
def test_a_score_threshold_is_refused_where_there_are_no_scores(task):
    with pytest.raises(ValueError, match=r"has no scores, expected 0, got 0\.5"):
        TaskSpec(*task, 0.5)


@pytest.mark.parametrize(
    ("task", "decoder", "shapes", "count"),
    [
        ("classification", "logits", [(1, 7)], 7),
        ("detection", "boxes-scores", [(1, 9, 4), (1, 9, 3)], 3),
        ("detection", "detection-postprocess", [(1, 9, 4), (1, 9), (1, 9), (1,)], None),
        ("segmentation", "class-scores", [(1, 5, 5, 21)], 21),
        ("segmentation", "class-map", [(1, 5, 5)], None),
        ("regression", "values", [(1, 2), (1, 3, 4)], 14),
    ],
)
def test_shapes_tell_how_many_labels_go_with_them(task, decoder, shapes, count):
    assert TaskSpec(task, decoder).label_count(shapes) == count
