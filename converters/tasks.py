"""What a model's outputs mean: from their shapes, from what computes them, and from what the user says."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.interface import TaskOptions
from converters.labels import read_labels
from device_runtime.contract.model import TASK_DECODERS, TaskSpec
from device_runtime.errors import BadFileError, UsageError


class Activation(enum.Enum):
    """The function that a model's output values come from, as far as it can be told."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    LINEAR = "linear"
    UNKNOWN = "unknown"


_OPTIONS_HINT = "say what the model is for: --task classification --decoder probabilities"
_DETECTION_DEFAULTS = {"score_threshold": 0.5, "max_items": 100}
"""100 objects a picture is what COCO's evaluation allows (cocoeval, maxDets)."""


@dataclass(frozen=True)
class OutputFacts:
    """One output: its name, its shape (with 1 for the batch), and the function that its values come from."""

    name: str
    shape: tuple[int, ...]
    activation: Activation = Activation.UNKNOWN


@dataclass(frozen=True)
class TaskPlan:
    """A task, and the order in which its decoder wants the model's outputs."""

    task: TaskSpec
    order: tuple[int, ...]


def plan_task(outputs: Sequence[OutputFacts], options: TaskOptions, where: str) -> TaskPlan:
    """Decide what the outputs mean.

    Raises:
        UsageError: they tell too little, and the message names the option that tells; or an option does not fit.
    """
    name, decoder, order = _recognise(outputs, options, where)
    defaults: dict[str, Any] = _DETECTION_DEFAULTS if name == "detection" else {}
    given = {key: value for key, value in vars(options).items() if value is not None}
    try:
        task = TaskSpec(**{**defaults, **given, "name": name, "decoder": decoder})
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    return TaskPlan(task, order)


def change_task(task: TaskSpec, options: TaskOptions, where: str) -> TaskSpec:
    """Return ``task`` with what the options say in place. Raises UsageError when they do not fit together."""
    given = {key: value for key, value in vars(options).items() if value is not None}
    try:
        return dataclasses.replace(task, **given)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def fitting_labels(path: Path | None, outputs: Sequence[tuple[int, ...]], task: TaskSpec) -> tuple[str, ...]:
    """Read the label file and hold it against the outputs; no file, no labels.

    Args:
        path: the label file.
        outputs: shapes of the outputs, in the decoder's order.
        task: what the outputs mean.

    Raises:
        BadFileError: it cannot be used, or has another number of labels than the model has classes.
    """
    if path is None:
        return ()
    labels = read_labels(path)
    require_fitting(labels, outputs, task, str(path))
    return labels


def require_fitting(labels: tuple[str, ...], outputs: Sequence[tuple[int, ...]], task: TaskSpec, where: str) -> None:
    """Raise BadFileError when the number of labels is not the number of classes."""
    classes = class_count(outputs, task)
    if classes is None or len(labels) == classes + task.label_offset:
        return
    hint = "give the label file that the model was trained with"
    if len(labels) == classes + 1:
        hint = "a file that also names the background goes with: --label-offset 1"
    raise BadFileError(f"{where}: expected {classes + task.label_offset} labels, got {len(labels)}", hint=hint)


def class_count(outputs: Sequence[tuple[int, ...]], task: TaskSpec) -> int | None:
    """Return how many classes the outputs have, or None when their shapes do not tell."""
    if task.decoder == "detection-postprocess":
        return None
    return outputs[1 if task.name == "detection" else 0][-1]


def _recognise(outputs: Sequence[OutputFacts], options: TaskOptions, where: str) -> tuple[str, str, tuple[int, ...]]:
    shapes = [output.shape for output in outputs]
    straight = tuple(range(len(outputs)))
    name = options.name or _task_of(options.decoder)
    if name is None and len(shapes) == 1 and _is_vector(shapes[0]):
        name = "classification"
    order = _boxes_and_scores(shapes)
    if name is None and order is not None:
        name = "detection"
    if name is None:
        listed = ", ".join(f"{output.name} {list(output.shape)}" for output in outputs)
        raise UsageError(f"{where}: what its outputs mean cannot be told from {listed}", hint=_OPTIONS_HINT)
    if name == "classification":
        return name, options.decoder or _classification_decoder(outputs[0], where), straight
    if name == "detection" and order is not None:
        return name, options.decoder or "boxes-scores", order
    if options.decoder is None:
        raise UsageError(
            f"{where}: which of its outputs are boxes and which are scores cannot be told from their shapes "
            f"{', '.join(str(list(shape)) for shape in shapes)}",
            hint=f"say what they are: --task {name} --decoder {'|'.join(TASK_DECODERS.get(name, ()))}",
        )
    return name, options.decoder, straight


def _task_of(decoder: str | None) -> str | None:
    return next((task for task, decoders in TASK_DECODERS.items() if decoder in decoders), None)


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Whether a shape is (1, n) or (1, 1, …, n)."""
    return len(shape) >= 2 and all(side == 1 for side in shape[:-1])


def _boxes_and_scores(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return where (1, n, 4) boxes and (1, n, classes) scores are; when both could be boxes, the first is."""
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        return None
    if shapes[0][2] == 4:
        return (0, 1)
    return (1, 0) if shapes[1][2] == 4 else None


def _classification_decoder(output: OutputFacts, where: str) -> str:
    if output.activation in (Activation.SOFTMAX, Activation.SIGMOID):
        return "probabilities"
    if output.activation is Activation.LINEAR:
        return "logits"
    raise UsageError(
        f"{where}: whether output {output.name} holds probabilities or logits cannot be told",
        hint="say which: --decoder probabilities, --decoder logits or --decoder sigmoid",
    )
