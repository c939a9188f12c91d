"""What a model is: its image preparation, its tensors, its task and its labels; the JSON beside every ``.tflite``."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from device_runtime.errors import ModelError

MODEL_SCHEMA = 1
"""Version of the ModelSpec JSON. A reader refuses a higher one."""

QUANTISED_DTYPES = ("uint8", "int8", "int16")
DTYPES = (*QUANTISED_DTYPES, "float32", "float16", "int32", "int64", "bool")


class Colour(str, enum.Enum):
    """Channel order of pixels."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"

    @property
    def channels(self) -> int:
        """Values per pixel."""
        return 1 if self is Colour.GRAY else 3


class Resize(str, enum.Enum):
    """How a frame is fitted to the model's size."""

    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    CENTER_CROP = "center-crop"


class Interpolation(str, enum.Enum):
    """How pixels are resampled; it must be the one that the model was trained with."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    AREA = "area"


class BoxFormat(str, enum.Enum):
    """Order of a box's four numbers."""

    XYXY = "xyxy"
    YXYX = "yxyx"
    CXCYWH = "cxcywh"


class BoxUnit(str, enum.Enum):
    """What coordinates are counted in: shares (0–1) of the model's input width and height, or its pixels."""

    FRACTION = "fraction"
    PIXEL = "pixel"


class ScoreActivation(str, enum.Enum):
    """What is still to be applied to scores: nothing, a sigmoid to each, or softmax over a box's classes."""

    NONE = "none"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


@dataclass(frozen=True)
class SsdAnchors:
    """The anchors of an SSD head, as ``ssd_anchor_generator`` of the TensorFlow Object Detection API lays them out.

    A layer's cells are ``strides`` input px apart (rounded up at the border). Its scale, a share of the input's shorter
    side, rises evenly from ``min_scale`` to ``max_scale`` over the layers. Every cell has an anchor for each of
    ``aspect_ratios`` (width / height), and one of ``interpolated_aspect_ratio`` (0: none) between its layer's scale and
    the next one's; with ``reduce_lowest`` the first layer has three anchors only. ``box_scales`` are what a head's y,
    x, height and width are divided by (``faster_rcnn_box_coder``). The defaults are those of SSD-MobileNet.
    """

    strides: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    min_scale: float = 0.2
    max_scale: float = 0.95
    aspect_ratios: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 1 / 3)
    interpolated_aspect_ratio: float = 1.0
    reduce_lowest: bool = True
    box_scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)

    def __post_init__(self) -> None:
        if not self.strides or min(self.strides) < 1:
            raise ValueError(f"strides: expected one or more of 1 px or more, got {list(self.strides)}")
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise ValueError(
                f"scales: expected 0 < min_scale <= max_scale <= 1, got {self.min_scale}, {self.max_scale}"
            )
        if not self.aspect_ratios or min(self.aspect_ratios) <= 0:
            raise ValueError(f"aspect_ratios: expected one or more above 0, got {list(self.aspect_ratios)}")
        if self.interpolated_aspect_ratio < 0:
            raise ValueError(f"interpolated_aspect_ratio: expected 0 or more, got {self.interpolated_aspect_ratio}")
        if min(self.box_scales) <= 0:
            raise ValueError(f"box_scales: expected numbers above 0, got {list(self.box_scales)}")


@dataclass(frozen=True)
class ImagePrep:
    """How a frame becomes the model's input: resize, colour order, then ``(pixel - mean) / std``.

    ``mean`` and ``std`` are in pixel units (0–255), one value for all channels or one per channel in ``colour``
    order; 0 and 1 leave pixels as they are, 127.5 and 127.5 give -1…1. ``crop_fraction`` is the side of the
    central square relative to the frame's shorter side (CENTER_CROP only). ``pad`` is the grey (0–255) around a
    letterboxed frame.
    """

    width: int
    height: int
    colour: Colour = Colour.RGB
    resize: Resize = Resize.STRETCH
    crop_fraction: float = 1.0
    interpolation: Interpolation = Interpolation.BILINEAR
    pad: int = 0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 16384 and 1 <= self.height <= 16384):
            raise ValueError(f"expected a size of 1–16384 px, got {self.width}x{self.height}")
        if not 0.0 < self.crop_fraction <= 1.0:
            raise ValueError(f"crop_fraction: expected 0 < fraction <= 1, got {self.crop_fraction}")
        if not 0 <= self.pad <= 255:
            raise ValueError(f"pad: expected 0–255, got {self.pad}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.colour.channels):
                expected = "1 value" if self.colour.channels == 1 else f"1 or {self.colour.channels} values"
                raise ValueError(f"{name}: expected {expected} for {self.colour.value}, got {len(values)}")
            if not all(math.isfinite(value) for value in values):
                raise ValueError(f"{name}: expected finite numbers, got {values}")
        if any(value <= 0 for value in self.std):
            raise ValueError(f"std: expected numbers above 0, got {self.std}")

    @property
    def channels(self) -> int:
        """Values per pixel of the input."""
        return self.colour.channels

    @property
    def input_range(self) -> tuple[float, float]:
        """The smallest and the largest value that the normalised input can have, over all channels."""
        count = max(len(self.mean), len(self.std))
        means = self.mean * count if len(self.mean) == 1 else self.mean
        stds = self.std * count if len(self.std) == 1 else self.std
        return (
            min((0.0 - mean) / std for mean, std in zip(means, stds)),
            max((255.0 - mean) / std for mean, std in zip(means, stds)),
        )


@dataclass(frozen=True)
class TensorSpec:
    """One tensor: ``real = scale * (stored - zero_point)`` when ``scale`` is not 0, else stored as it is."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype of {self.name}: expected one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if any(side < 1 for side in self.shape):
            raise ValueError(f"shape of {self.name}: expected sizes of 1 or more, got {list(self.shape)}")
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise ValueError(f"scale of {self.name}: expected 0 or more, got {self.scale}")

    @property
    def quantised(self) -> bool:
        """Whether stored values stand for real ones."""
        return self.scale != 0.0


TASK_DECODERS = {
    "classification": ("probabilities", "logits", "sigmoid"),
    "detection": (
        "detection-postprocess",
        "boxes-scores",
        "ssd",
        "yolov5",
        "yolov8",
        "yolov8-transposed",
        "yolo-end2end",
    ),
    "pose": ("movenet", "movenet-multipose", "yolov8-pose", "heatmaps"),
    "segmentation": ("class-scores", "class-map"),
    "regression": ("values",),
}
"""Task names, and for each the decoders that turn output tensors into predictions (``device_runtime.tasks``)."""

_LABELLED_AXES = {
    "boxes-scores": (1, -1, 0, 1),
    "ssd": (1, -1, 0, 1),
    "yolov5": (0, -1, 5, 1),
    "yolov8": (0, 1, 4, 1),
    "yolov8-transposed": (0, -1, 4, 1),
    "movenet": (0, 2, 0, 1),
    "movenet-multipose": (0, -1, 5, 3),
    "yolov8-pose": (0, 1, 5, 3),
    "heatmaps": (0, 3, 0, 1),
}
"""By decoder: the output and its axis that has what labels name, what else the axis has, and numbers for each."""

_ACTIVATED = {
    "boxes-scores": ScoreActivation,
    "ssd": ScoreActivation,
    "heatmaps": (ScoreActivation.NONE, ScoreActivation.SIGMOID),
}
_WITH_BACKGROUND = ("boxes-scores", "ssd")


@dataclass(frozen=True)
class TaskSpec:
    """What the outputs mean. Items below ``score_threshold`` are left out, at most ``max_items`` are kept.

    Segmentation and regression have no scores: their threshold is 0. For detection and poses: ``iou_threshold`` for
    NMS, ``box_format`` (boxes-scores alone leaves it open), ``box_unit``, and ``score_activation`` where the scores are
    still logits. Detection only: ``label_offset``, what to add to a class index to get its line in the label file (1
    for models that count the background but do not output it); ``background``, whether the first class that a model
    does output is the background, which is no class then; and ``anchors``, which an SSD head needs.
    """

    name: str
    decoder: str
    score_threshold: float = 0.0
    max_items: int = 5
    iou_threshold: float = 0.5
    box_format: BoxFormat = BoxFormat.XYXY
    label_offset: int = 0
    box_unit: BoxUnit = BoxUnit.FRACTION
    score_activation: ScoreActivation = ScoreActivation.NONE
    background: bool = False
    anchors: Optional[SsdAnchors] = None

    def __post_init__(self) -> None:
        if self.name not in TASK_DECODERS:
            raise ValueError(f"task: expected one of {', '.join(TASK_DECODERS)}, got {self.name!r}")
        if self.decoder not in TASK_DECODERS[self.name]:
            known = ", ".join(TASK_DECODERS[self.name])
            raise ValueError(f"decoder of {self.name}: expected one of {known}, got {self.decoder!r}")
        for name in ("score_threshold", "iou_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected 0–1, got {getattr(self, name)}")
        if self.score_threshold and self.name in ("segmentation", "regression"):
            raise ValueError(f"score_threshold: {self.name} has no scores, expected 0, got {self.score_threshold}")
        if self.max_items < 1:
            raise ValueError(f"max_items: expected 1 or more, got {self.max_items}")
        self._check_head()

    def _check_head(self) -> None:
        """Check what goes with some decoders only."""
        allowed = tuple(_ACTIVATED.get(self.decoder, (ScoreActivation.NONE,)))
        if self.score_activation not in allowed:
            known = ", ".join(item.value for item in allowed)
            raise ValueError(
                f"score_activation of {self.decoder}: expected one of {known}, got {self.score_activation.value}"
            )
        if self.background and self.decoder not in _WITH_BACKGROUND:
            raise ValueError(f"background: expected false for {self.decoder}, only {_WITH_BACKGROUND} have one")
        if (self.anchors is not None) != (self.decoder == "ssd"):
            wanted = "some: an ssd head is read with them" if self.decoder == "ssd" else f"none for {self.decoder}"
            raise ValueError(f"anchors: expected {wanted}")

    def label_count(self, shapes: Sequence[tuple[int, ...]]) -> Optional[int]:
        """Return how many labels go with outputs of these shapes, or None when the shapes do not tell.

        That is the number of classes with ``label_offset``, for a pose the number of its points, and for regression the
        number of values.
        """
        if self.decoder in ("detection-postprocess", "yolo-end2end", "class-map"):
            return None
        if self.name == "regression":
            return sum(math.prod(shape) for shape in shapes)
        if self.decoder not in _LABELLED_AXES:
            return (shapes[0][-1] if shapes[0] else 1) + self.label_offset
        output, axis, others, numbers = _LABELLED_AXES[self.decoder]
        if len(shapes) <= output or not -len(shapes[output]) <= axis < len(shapes[output]):
            return None
        count = (shapes[output][axis] - others) // numbers
        if count < 1:
            return None
        return count if self.name == "pose" else count - self.background + self.label_offset


@dataclass(frozen=True)
class Provenance:
    """Where a converted model came from; digests are 64 hex digits, empty where they do not apply."""

    source: str = ""
    source_sha256: str = ""
    recipe: str = ""
    calibration_sha256: str = ""
    tools: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """Everything that is needed to run a ``.tflite`` file and to read its answer.

    ``prep`` is None for a *tensor model*: its inputs are numbers, and neither a camera nor a picture can feed it. Every
    other model has one input, a picture. ``labels[i]`` names class or value ``i``; empty when they have no names.
    """

    name: str
    task: TaskSpec
    prep: Optional[ImagePrep]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...] = ()
    provenance: Optional[Provenance] = None
    schema: int = MODEL_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > MODEL_SCHEMA:
            raise ValueError(f"schema: this reader knows up to {MODEL_SCHEMA}, got {self.schema}; update edgekit")
        self._check_inputs()
        if not self.outputs:
            raise ValueError("outputs: expected 1 or more, got none")
        if self.labels and self.task.name != "detection":
            wanted = self.task.label_count([tensor.shape for tensor in self.outputs])
            if wanted is not None and len(self.labels) != wanted:
                raise ValueError(f"labels: expected {wanted} for output {self.outputs[0].name}, got {len(self.labels)}")

    def _check_inputs(self) -> None:
        if self.prep is None:
            if not self.inputs:
                raise ValueError("inputs: expected 1 or more, got none")
            if self.task.name != "regression":
                raise ValueError(f"task: expected regression for a model without a picture, got {self.task.name}")
            return
        if len(self.inputs) != 1:
            raise ValueError(f"inputs: expected 1 image input, got {len(self.inputs)}")
        expected = (1, self.prep.height, self.prep.width, self.prep.channels)
        if self.inputs[0].shape != expected:
            raise ValueError(
                f"input {self.inputs[0].name}: expected shape {list(expected)} from its preparation, "
                f"got {list(self.inputs[0].shape)}"
            )

    @property
    def image_prep(self) -> ImagePrep:
        """How a picture becomes the input.

        Raises:
            ModelError: this is a tensor model.
        """
        if self.prep is None:
            inputs = ", ".join(f"{tensor.name} {list(tensor.shape)} {tensor.dtype}" for tensor in self.inputs)
            raise ModelError(
                f"{self.name}: expected a model that takes one picture, got one that takes tensors: {inputs}",
                hint="edgekit converts and inspects such a model; run it in your own program with ai-edge-litert",
            )
        return self.prep

    def label_of(self, index: int) -> str:
        """Return the name of class or value ``index``, or its number as text."""
        position = index + self.task.label_offset
        return self.labels[position] if 0 <= position < len(self.labels) else str(index)
