"""What the outputs mean, from their shapes and what computes them."""

import contextlib

import pytest

from converters.interface import TaskOptions
from converters.tasks import Activation, OutputFacts, fitting_labels, plan_task
from device_runtime.contract.model import BoxUnit, ScoreActivation, SsdAnchors, TaskSpec
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


FRACTIONS, PIXELS = 1.0, 640.0


@pytest.mark.parametrize(
    ("shape", "task"),
    [
        ((1, 84, 8400), ("detection", "yolov8")),
        ((1, 5, 2100), ("detection", "yolov8")),
        ((1, 8400, 84), ("detection", "yolov8-transposed")),
        ((1, 25200, 85), ("detection", "yolov5")),
        ((1, 300, 6), ("detection", "yolo-end2end")),
        ((1, 1, 17, 3), ("pose", "movenet")),
        ((1, 6, 56), ("pose", "movenet-multipose")),
    ],
)
def test_heads_are_known_by_their_shapes(shape, task):
    assert told(OutputFacts("out", shape, largest=FRACTIONS)) == task


@pytest.mark.parametrize(
    ("shape", "decoders"),
    [
        ((1, 56, 8400), ("yolov8", "yolov8-pose")),  # 52 classes, or 17 points
        ((1, 25200, 7), ("yolov5", "yolov8-transposed")),  # 2 classes, or 3
        ((1, 8400, 6), ("yolov5", "yolov8-transposed")),  # too many for boxes that need no suppression
    ],
)
def test_a_head_that_could_be_two_names_the_decoders_that_it_could_have(shape, decoders):
    with pytest.raises(UsageError, match=f"is a head for {' or '.join(decoders)} cannot be told") as caught:
        told(OutputFacts("out", shape, largest=FRACTIONS))
    assert caught.value.hint == f"say which: --decoder {decoders[0]} or --decoder {decoders[1]}"
    for decoder in decoders:
        assert told(OutputFacts("out", shape, largest=FRACTIONS), decoder=decoder)[1] == decoder


def test_the_task_settles_what_56_rows_are():
    assert told(OutputFacts("out", (1, 56, 8400), largest=FRACTIONS), name="pose") == ("pose", "yolov8-pose")
    assert told(OutputFacts("out", (1, 11, 2100), largest=FRACTIONS), name="pose") == ("pose", "yolov8-pose")


def test_the_unit_of_a_quantised_head_is_told_by_what_it_has_room_for():
    units = [
        plan_task([OutputFacts("out", (1, 84, 8400), largest=largest)], TaskOptions(), "m").task.box_unit
        for largest in (FRACTIONS, PIXELS)
    ]
    assert units == [BoxUnit.FRACTION, BoxUnit.PIXEL]


def test_the_unit_of_a_float_head_has_to_be_said():
    with pytest.raises(UsageError, match="whether the boxes of a yolov8 head are fractions") as caught:
        told(out(1, 84, 8400))
    assert "--box-unit pixel" in caught.value.hint
    task = plan_task([out(1, 84, 8400)], TaskOptions(box_unit=BoxUnit.PIXEL), "m").task
    assert (task.decoder, task.box_unit, task.score_threshold) == ("yolov8", BoxUnit.PIXEL, 0.5)


@pytest.mark.parametrize("shape", [(1, 480, 640), (1, 257, 257), (1, 20, 20), (1, 1, 1, 3)])
def test_maps_are_no_heads(shape):
    with pytest.raises(UsageError, match="cannot be told") if shape != (1, 1, 1, 3) else contextlib.nullcontext():
        assert told(out(*shape, activation=Activation.SOFTMAX)) == ("classification", "probabilities")


def test_an_ssd_head_needs_its_anchors():
    raw = [out(1, 1917, 91), out(1, 1917, 1, 4)]
    with pytest.raises(UsageError, match="an ssd head cannot be read without its anchors") as caught:
        plan_task(raw, TaskOptions(decoder="ssd"), "m")
    assert "--anchors FILE" in caught.value.hint
    plan = plan_task(raw, TaskOptions(decoder="ssd", anchors=SsdAnchors(), background=True), "m")
    assert (plan.order, plan.task.background, plan.task.anchors) == ((1, 0), True, SsdAnchors())


def test_heat_maps_come_before_their_offsets():
    outputs = [out(1, 9, 9, 34), out(1, 9, 9, 17)]
    plan = plan_task(outputs, TaskOptions(name="pose"), "m")
    assert (plan.task.decoder, plan.order, plan.task.score_threshold) == ("heatmaps", (1, 0), 0.3)
    assert told(out(1, 64, 48, 17), name="pose") == ("pose", "heatmaps")


def test_an_option_that_belongs_to_another_head_is_refused():
    with pytest.raises(UsageError, match="m: score_activation of movenet: expected one of none, got sigmoid"):
        told(out(1, 1, 17, 3), score_activation=ScoreActivation.SIGMOID)


def test_what_a_pose_has_no_decoder_for_is_named():
    with pytest.raises(UsageError, match="which of its outputs are points cannot be told") as caught:
        told(out(1, 8, 8), name="pose")
    assert "--task pose --decoder movenet|movenet-multipose|yolov8-pose|heatmaps" in caught.value.hint


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
