"""What a decoder gives, and how its answer becomes a prediction's items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import ModelSpec, TensorSpec
from device_runtime.contract.prediction import POSE_LABEL, Item
from device_runtime.errors import ModelError
from device_runtime.vision.frame import Tensor
from device_runtime.vision.placement import Boxes, Mask, Placement, Points

Scores = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a decoder found, by falling score.

    ``classes`` (n,) int64, ``scores`` (n,) float32 0–1, ``boxes`` (n, 4) float32 x1 y1 x2 y2 as fractions (0–1) of the
    model's input, or None for a task without boxes. ``points`` (n, k, 3) float32 x y score in the same fractions are
    those of poses, in the order of the model's labels, or None; a pose is of ``POSE_LABEL``, its class is 0.
    """

    classes: Classes
    scores: Scores
    boxes: Boxes | None = None
    points: Points | None = None

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.scores.shape != (count,):
            raise ValueError(f"scores: expected ({count},), got {self.scores.shape}")
        if self.boxes is not None and self.boxes.shape != (count, 4):
            raise ValueError(f"boxes: expected ({count}, 4), got {self.boxes.shape}")
        if self.points is not None and (self.points.ndim, len(self.points), self.points.shape[-1]) != (3, count, 3):
            raise ValueError(f"points: expected ({count}, k, 3), got {self.points.shape}")

    def items(self, spec: ModelSpec, placement: Placement) -> tuple[Item, ...]:
        """Return the same with names, and with boxes and points in frame pixels."""
        if not len(self.classes):
            return ()
        pairs = list(zip(self.classes.tolist(), self.scores.tolist(), strict=True))
        nothing = [None] * len(pairs)
        boxes = nothing if self.boxes is None else placement.boxes_to_frame(self.boxes, spec.image_prep).tolist()
        points = nothing if self.points is None else placement.points_to_frame(self.points, spec.image_prep).tolist()
        return tuple(
            Item(
                index,
                spec.label_of(index) if pose is None else POSE_LABEL,
                score,
                None if box is None else tuple(box),
                None if pose is None else tuple(tuple(point) for point in pose),
            )
            for (index, score), box, pose in zip(pairs, boxes, points, strict=True)
        )


@dataclass(frozen=True, slots=True)
class ClassMap:
    """The class of each cell of the input: ``ids`` (h, w), see ``Mask``."""

    ids: Mask

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"ids: expected (h, w) uint8 or uint16, got {self.ids.shape} {self.ids.dtype}")

    def items(self, spec: ModelSpec, placement: Placement) -> tuple[Item, ...]:
        """Return the classes that are there by falling area, at most ``max_items``; padding does not count."""
        seen = self.ids[placement.seen_cells(self.ids.shape, spec.image_prep)]
        counts = np.bincount(seen.reshape(-1))
        order = np.argsort(-counts, kind="stable")[: min(np.count_nonzero(counts), spec.task.max_items)]
        return tuple(
            Item(index, spec.label_of(index), area=count / seen.size)
            for index, count in zip(order.tolist(), counts[order].tolist(), strict=True)
        )


@dataclass(frozen=True, slots=True)
class Values:
    """The numbers of a regression, (n,) float32, over all outputs in their order."""

    numbers: npt.NDArray[np.float32]

    def items(self, spec: ModelSpec, placement: Placement) -> tuple[Item, ...]:
        """Return the first ``max_items`` numbers with their names."""
        del placement
        first = self.numbers[: spec.task.max_items].tolist()
        return tuple(Item(index, spec.label_of(index), value=value) for index, value in enumerate(first))


Found = Candidates | ClassMap | Values

Decoder = Callable[[Sequence[Tensor], ModelSpec], Found]
"""Takes a model's output tensors as they are stored, in the order of ``spec.outputs``.

It raises ModelError when they hold NaN or infinity.
"""


def require_finite(values: Tensor, spec: TensorSpec) -> None:
    """Raise ModelError when an output holds NaN or infinity: its numbers would be compared, and mean nothing."""
    if not np.isfinite(values).all():
        raise ModelError(f"output {spec.name}: expected finite numbers, got NaN or infinity")
