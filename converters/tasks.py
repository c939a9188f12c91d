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
from device_runtime.contract.model import TASK_DECODERS, BoxUnit, TaskSpec
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

_THRESHOLDS = {"detection": 0.5, "pose": 0.3}
_OF_ANY_UNIT = ("yolov5", "yolov8", "yolov8-transposed", "yolo-end2end", "yolov8-pose")
_LARGEST_FRACTION = 4.0
"""No box is larger than a few inputs, and no input has as few pixels."""

_COCO_CLASSES = 80
_COCO_POSE_ROWS = 5 + 3 * 17
_MULTIPOSE_VALUES = 5 + 3 * 17
_MOST_POSES = 20
_END2END_VALUES = 6
_FEWEST_END2END, _MOST_END2END = 50, 1000
_FEWEST_BOXES = 500


@dataclass(frozen=True)
class OutputFacts:
    """One output: its name, its shape (with 1 for the batch), and the function that its values come from.

    ``whole`` tells that its values are whole numbers, as class ids are. ``largest`` is the largest value that it can
    hold, where it is quantised.
    """

    name: str
    shape: tuple[int, ...]
    activation: Activation = Activation.UNKNOWN
    whole: bool = False
    largest: float | None = None


@dataclass(frozen=True)
class TaskPlan:
    """A task, and the order in which its decoder wants the model's outputs."""

    task: TaskSpec
    order: tuple[int, ...]


def plan_task(outputs: Sequence[OutputFacts], options: TaskOptions, where: str) -> TaskPlan:
    """Decide what the outputs mean.

    One vector is a classification, or with one linear value a regression; boxes with scores are a detection; a map
    (1, h, w, classes) of scores, or (1, h, w) of whole numbers, is a segmentation; heads of YOLO and MoveNet are known
    by their shapes. Anything else has to be said.

    Raises:
        UsageError: they tell too little, and the message names the option that tells; or an option does not fit.
    """
    name, decoder, order = _recognise(outputs, options, where)
    defaults: dict[str, Any] = {} if name == "classification" else {"max_items": _MAX_ITEMS}
    defaults["score_threshold"] = _THRESHOLDS.get(name, 0.0)
    given = {key: value for key, value in vars(options).items() if value is not None}
    if decoder in _OF_ANY_UNIT and options.box_unit is None:
        defaults["box_unit"] = _unit_of(outputs[0], decoder, where)
    _require_anchors(decoder, options, where)
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
    name = options.name or _task_of(options.decoder)
    order = _order(shapes, options.decoder)
    if options.decoder is None and len(shapes) == 1 and name in (None, "detection", "pose"):
        known = _known_head(outputs[0], name, where)
        if known is not None:
            return _task_of(known) or "", known, order
    if name is None:
        name = _told_task(outputs)
    if name is None:
        listed = ", ".join(f"{output.name} {list(output.shape)}" for output in outputs)
        raise UsageError(f"{where}: what its outputs mean cannot be told from {listed}", hint=_OPTIONS_HINT)
    decoder = options.decoder or _told_decoder(name, outputs, where)
    if decoder is None:
        what = {"detection": "boxes and which are scores", "pose": "points"}.get(name, "the map")
        raise UsageError(
            f"{where}: which of its outputs are {what} cannot be told from their shapes "
            f"{', '.join(str(list(shape)) for shape in shapes)}",
            hint=f"say what they are: --task {name} --decoder {'|'.join(TASK_DECODERS.get(name, ()))}",
        )
    return name, decoder, order


def _order(shapes: Sequence[tuple[int, ...]], decoder: str | None) -> tuple[int, ...]:
    """Return the order in which decoders want the outputs."""
    # An SSD head may have its codes as (1, n, 1, 4).
    flat = [(*shape[:2], shape[3]) if len(shape) == 4 and shape[2] == 1 else shape for shape in shapes]
    boxes = _boxes_and_scores(flat if decoder == "ssd" else shapes)
    return boxes or _maps_and_offsets(shapes) or tuple(range(len(shapes)))


def _task_of(decoder: str | None) -> str | None:
    return next((task for task, decoders in TASK_DECODERS.items() if decoder in decoders), None)


def _told_task(outputs: Sequence[OutputFacts]) -> str | None:
    """Return the task that outputs tell by themselves, or None when it could be several."""
    if len(outputs) == 1:
        return _single_task(outputs[0])
    return None if _boxes_and_scores([output.shape for output in outputs]) is None else "detection"


def _told_decoder(name: str, outputs: Sequence[OutputFacts], where: str) -> str | None:
    """Return the decoder that outputs of a task tell by themselves, or None."""
    shapes = [output.shape for output in outputs]
    if name == "classification":
        return _classification_decoder(outputs[0], where)
    if name == "detection" and _boxes_and_scores(shapes) is not None:
        return "boxes-scores"
    if name == "pose" and (_maps_and_offsets(shapes) is not None or (len(shapes) == 1 and _is_score_map(shapes[0]))):
        return "heatmaps"
    if name == "regression":
        return "values"
    if name == "segmentation" and len(shapes) == 1:
        return _segmentation_decoder(outputs[0], where)
    return None


def _known_head(output: OutputFacts, name: str | None, where: str) -> str | None:
    """Return the decoder of a head whose shape no other model has, or None.

    Raises:
        UsageError: it is a head for objects or poses, but of which kind cannot be told.
    """
    if output.whole:
        return None
    shape = output.shape
    if len(shape) == 4 and shape[:2] == (1, 1) and shape[2] > 1 and shape[3] == 3:
        return "movenet"
    if len(shape) != 3 or shape[0] != 1:
        return None
    first, last = shape[1:]
    if last == _MULTIPOSE_VALUES and first <= _MOST_POSES:
        return "movenet-multipose"
    if last == _END2END_VALUES and _FEWEST_END2END <= first <= _MOST_END2END and not _is_grid(first):
        return "yolo-end2end"
    fitting: list[str] = []
    if _is_grid(last) and 4 < first < last // 4:
        fitting = ["yolov8", "yolov8-pose"] if first == _COCO_POSE_ROWS else ["yolov8"]
        if name == "pose":
            fitting = ["yolov8-pose"]
    elif _is_grid(first) and 4 < last < first // 4 and name != "pose":
        fitting = {_COCO_CLASSES + 4: ["yolov8-transposed"], _COCO_CLASSES + 5: ["yolov5"]}.get(
            last, ["yolov5", "yolov8-transposed"]
        )
    if len(fitting) > 1:
        raise UsageError(
            f"{where}: whether output {output.name} {list(shape)} is a head for {' or '.join(fitting)} cannot be told",
            hint=f"say which: {' or '.join(f'--decoder {decoder}' for decoder in fitting)}",
        )
    return fitting[0] if fitting else None


def _is_grid(count: int) -> bool:
    """Whether so many boxes come from grids of strides 8, 16 and 32: 21 for each 32 x 32 px of the input, or 63."""
    return count >= _FEWEST_BOXES and count % 21 == 0


def _unit_of(output: OutputFacts, decoder: str, where: str) -> BoxUnit:
    """Return what a YOLO head's coordinates are counted in: a quantised tensor has no room for anything else."""
    if output.largest is None:
        raise UsageError(
            f"{where}: whether the boxes of a {decoder} head are fractions of the input or pixels cannot be told from "
            f"output {output.name}",
            hint="say which: --box-unit pixel (exported to ONNX or PyTorch), or --box-unit fraction (to TFLite)",
        )
    return BoxUnit.PIXEL if output.largest > _LARGEST_FRACTION else BoxUnit.FRACTION


def _require_anchors(decoder: str, options: TaskOptions, where: str) -> None:
    if decoder == "ssd" and options.anchors is None:
        raise UsageError(
            f"{where}: an ssd head cannot be read without its anchors",
            hint="describe them: --anchors FILE, or [task.anchors] in edgekit.toml; {} in the file is SSD-MobileNet's",
        )


def _single_task(output: OutputFacts) -> str | None:
    """Return the task of a model with one output, or None when it could be several."""
    if _is_vector(output.shape):
        # One value that no function bounds is a quantity; a bounded one is the score of a yes or no.
        alone = output.shape[-1] == 1 and output.activation is Activation.LINEAR
        return "regression" if alone else "classification"
    if _is_id_map(output.shape) and output.whole:
        return "segmentation"
    # Independent scores for each cell may as well be heat maps, or a picture.
    scores = _is_score_map(output.shape) and not output.whole
    return "segmentation" if scores and output.activation is not Activation.SIGMOID else None


def _is_score_map(shape: tuple[int, ...]) -> bool:
    """Whether a shape is (1, height, width, 2 or more)."""
    return len(shape) == 4 and min(shape[1:]) >= 2


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


def _maps_and_offsets(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Return where (1, h, w, k) heat maps and their (1, h, w, 2 k) offsets are."""
    if len(shapes) != 2 or any(len(shape) != 4 for shape in shapes) or shapes[0][:3] != shapes[1][:3]:
        return None
    if shapes[1][3] == 2 * shapes[0][3]:
        return (0, 1)
    return (1, 0) if shapes[0][3] == 2 * shapes[1][3] else None


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
