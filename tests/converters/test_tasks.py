"""What the outputs mean, from their shapes and what computes them."""

import pytest

from converters.interface import TaskOptions
from converters.tasks import Activation, OutputFacts, fitting_labels, plan_task
from device_runtime.contract.model import TaskSpec
from device_runtime.errors import BadFileError, UsageError


def out(*shape, activation=Activation.UNKNOWN, whole=False):
    return OutputFacts("out", shape, activation, whole)


def told(output, **options):
    task = plan_task([output], TaskOptions(**options), "m").task
    return task.name, task.decoder


@pytest.mark.parametrize(
    ("output", "task"),
    [
        (out(1, 5, activation=Activation.SOFTMAX), ("classification", "probabilities")),
        (out(1, 1, activation=Activation.SIGMOID), ("classification", "probabilities")),
        (out(1, 5, activation=Activation.LINEAR), ("classification", "logits")),
        (out(1, 1, activation=Activation.LINEAR), ("regression", "values")),
        (out(1, 1, 1, 1, activation=Activation.LINEAR), ("regression", "values")),
        (out(1, 8, 8, 21), ("segmentation", "class-scores")),
        (out(1, 8, 8, 2, activation=Activation.SOFTMAX), ("segmentation", "class-scores")),
        (out(1, 8, 8, whole=True), ("segmentation", "class-map")),
        (out(1, 8, 8, 1, whole=True), ("segmentation", "class-map")),
    ],
)
def test_one_output_tells_its_task(output, task):
    assert told(output) == task


@pytest.mark.parametrize(
    "output",
    [
        out(1, 1),  # a score or a quantity
        out(1, 8, 8),  # a depth map, or the rows of a detector
        out(1, 8, 8, 1, activation=Activation.SIGMOID),  # a mask, or a grey picture
        out(1, 8, 8, 17, activation=Activation.SIGMOID),  # heat maps
        out(1, 8, 8, 2, whole=True),
    ],
)
def test_what_could_be_several_things_has_to_be_said(output):
    with pytest.raises(UsageError, match="cannot be told") as caught:
        told(output)
    assert "--task" in caught.value.hint


def test_what_is_said_counts():
    assert told(out(1, 5), name="regression") == ("regression", "values")
    assert told(out(1, 1, activation=Activation.LINEAR), decoder="logits") == ("classification", "logits")
    assert told(out(1, 8, 8), decoder="class-map") == ("segmentation", "class-map")
    assert told(out(1, 8, 8, 17, activation=Activation.SIGMOID), name="segmentation") == (
        "segmentation",
        "class-scores",
    )


def test_a_share_of_foreground_is_a_map_of_two_classes():
    mask = out(1, 8, 8, 1, activation=Activation.SIGMOID)
    assert told(mask, name="segmentation") == ("segmentation", "class-map")
    with pytest.raises(UsageError, match="class scores or class ids") as caught:
        told(out(1, 8, 8, 1, activation=Activation.LINEAR), name="segmentation")
    assert "--decoder class-scores or --decoder class-map" in caught.value.hint


def test_a_regression_may_have_several_outputs():
    plan = plan_task([out(1, 2), out(1, 3, 3)], TaskOptions(name="regression"), "m")
    assert (plan.task.name, plan.order, plan.task.score_threshold) == ("regression", (0, 1), 0.0)


def test_a_score_threshold_does_not_go_with_a_task_without_scores():
    with pytest.raises(UsageError, match="segmentation has no scores"):
        told(out(1, 8, 8, 21), score_threshold=0.5)


def test_labels_name_classes_or_values(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    assert fitting_labels(labels, [(1, 8, 8, 3)], TaskSpec("segmentation", "class-scores")) == ("a", "b", "c")
    assert fitting_labels(labels, [(1, 2), (1, 1)], TaskSpec("regression", "values")) == ("a", "b", "c")
    with pytest.raises(BadFileError, match="expected 2 labels, got 3") as caught:
        fitting_labels(labels, [(1, 2)], TaskSpec("regression", "values"))
    assert "--label-offset" not in caught.value.hint
