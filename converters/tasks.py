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


_OPTIONS_HINT = "say what the model is for: --task classification --decoder probabilities, or --task regression"
_MAX_ITEMS = 100
"""As many objects a picture as COCO's evaluation allows (cocoeval, maxDets); as many classes or values, too."""


@dataclass(frozen=True)
class OutputFacts:
    """One output: its name, its shape (with 1 for the batch), and the function that its values come from.

    ``whole`` tells that its values are whole numbers, as class ids are.
    """

    name: str
    shape: tuple[int, ...]
    activation: Activation = Activation.UNKNOWN
    whole: bool = False


@dataclass(frozen=True)
class TaskPlan:
    """A task, and the order in which its decoder wants the model's outputs."""

    task: TaskSpec
    order: tuple[int, ...]


def plan_task(outputs: Sequence[OutputFacts], options: TaskOptions, where: str) -> TaskPlan:
    """Decide what the outputs mean.

    One vector is a classification, or with one linear value a regression; boxes with scores are a detection; a map
    (1, h, w, classes) of scores, or (1, h, w) of whole numbers, is a segmentation. Anything else has to be said.

    Raises:
        UsageError: they tell too little, and the message names the option that tells; or an option does not fit.
    """
    name, decoder, order = _recognise(outputs, options, where)
    defaults: dict[str, Any] = {} if name == "classification" else {"max_items": _MAX_ITEMS}
    if name == "detection":
        defaults["score_threshold"] = 0.5
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
    """Raise BadFileError when the number of labels is not the number of classes (or of a regression's values)."""
    wanted = task.label_count(outputs)
    if wanted is None or len(labels) == wanted:
        return
    hint = "give the label file that the model was trained with"
    if len(labels) == wanted - task.label_offset + 1 and task.name in ("classification", "detection"):
        hint = "a file that also names the background goes with: --label-offset 1"
    raise BadFileError(f"{where}: expected {wanted} labels, got {len(labels)}", hint=hint)


def _recognise(outputs: Sequence[OutputFacts], options: TaskOptions, where: str) -> tuple[str, str, tuple[int, ...]]:
    shapes = [output.shape for output in outputs]
    straight = tuple(range(len(outputs)))
    name = options.name or _task_of(options.decoder)
    order = _boxes_and_scores(shapes)
    if name is None and len(shapes) == 1:
        name = _single_task(outputs[0])
    elif name is None and order is not None:
        name = "detection"
    if name is None:
        listed = ", ".join(f"{output.name} {list(output.shape)}" for output in outputs)
        raise UsageError(f"{where}: what its outputs mean cannot be told from {listed}", hint=_OPTIONS_HINT)
    if name == "classification":
        return name, options.decoder or _classification_decoder(outputs[0], where), straight
    if name == "detection" and order is not None:
        return name, options.decoder or "boxes-scores", order
    if name == "regression":
        return name, options.decoder or "values", straight
    if name == "segmentation" and len(shapes) == 1:
        return name, options.decoder or _segmentation_decoder(outputs[0], where), straight
    if options.decoder is None:
        raise UsageError(
            f"{where}: which of its outputs are {'boxes and which are scores' if name == 'detection' else 'the map'} "
            f"cannot be told from their shapes {', '.join(str(list(shape)) for shape in shapes)}",
            hint=f"say what they are: --task {name} --decoder {'|'.join(TASK_DECODERS.get(name, ()))}",
        )
    return name, options.decoder, straight


def _task_of(decoder: str | None) -> str | None:
    return next((task for task, decoders in TASK_DECODERS.items() if decoder in decoders), None)


def _single_task(output: OutputFacts) -> str | None:
    """Return the task of a model with one output, or None when it could be several."""
    if _is_vector(output.shape):
        # One value that no function bounds is a quantity; a bounded one is the score of a yes or no.
        alone = output.shape[-1] == 1 and output.activation is Activation.LINEAR
        return "regression" if alone else "classification"
    if _is_id_map(output.shape) and output.whole:
        return "segmentation"
    # Independent scores for each cell may as well be heat maps, or a picture.
    # A map has two sides: (1, 1, 17, 3) are the 17 points of a pose.
    scores = len(output.shape) == 4 and min(output.shape[1:]) >= 2 and not output.whole
    return "segmentation" if scores and output.activation is not Activation.SIGMOID else None


def _is_id_map(shape: tuple[int, ...]) -> bool:
    """Whether a shape is (1, height, width), or that with one channel."""
    return len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)


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


def _segmentation_decoder(output: OutputFacts, where: str) -> str:
    # The share of the foreground, rounded to 0 or 1, is a class map too.
    if _is_id_map(output.shape) and (output.whole or output.activation is Activation.SIGMOID):
        return "class-map"
    if len(output.shape) == 4 and output.shape[3] >= 2:
        return "class-scores"
    raise UsageError(
        f"{where}: whether output {output.name} {list(output.shape)} holds class scores or class ids cannot be told",
        hint="say which: --decoder class-scores or --decoder class-map",
    )


def _classification_decoder(output: OutputFacts, where: str) -> str:
    if output.activation in (Activation.SOFTMAX, Activation.SIGMOID):
        return "probabilities"
    if output.activation is Activation.LINEAR:
        return "logits"
    raise UsageError(
        f"{where}: whether output {output.name} holds probabilities or logits cannot be told",
        hint="say which: --decoder probabilities, --decoder logits or --decoder sigmoid; or --task regression",
    )
