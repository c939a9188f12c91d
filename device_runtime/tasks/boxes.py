"""Boxes: orders, overlap and non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import BoxFormat
from device_runtime.tasks.interface import Classes, Scores
from device_runtime.vision.placement import Boxes


def to_xyxy(boxes: Boxes, order: BoxFormat) -> Boxes:
    """Return (n, 4) boxes of any order as x1 y1 x2 y2, in the same unit."""
    if order is BoxFormat.YXYX:
        return boxes[:, [1, 0, 3, 2]]
    if order is BoxFormat.CXCYWH:
        centres, halves = boxes[:, :2], boxes[:, 2:] / 2
        return np.concatenate([centres - halves, centres + halves], axis=1)
    return boxes


def iou(one: Boxes, others: Boxes) -> npt.NDArray[np.float32]:
    """Return intersection over union of a box (4,) with each of (n, 4): (n,) float32; 0 where both are empty."""
    corner = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    common = np.clip(corner, 0, None).prod(axis=1)
    area = np.clip(one[2:] - one[:2], 0, None).prod()
    areas = np.clip(others[:, 2:] - others[:, :2], 0, None).prod(axis=1)
    union = area + areas - common
    shares: npt.NDArray[np.float32] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def suppress(
    boxes: Boxes, scores: Scores, classes: Classes, iou_threshold: float, max_items: int
) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: (n, 4) float32 x1 y1 x2 y2.
        scores: (n,) float32.
        classes: (n,) int64; boxes of different classes never suppress each other.
        iou_threshold: a box that overlaps a better one of its class by more than this is left out.
        max_items: stop after this many.

    Returns:
        Indices of the kept boxes by falling score; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < max_items:
        best = order[0]
        kept.append(int(best))
        rest = order[1:]
        overlapping = iou(boxes[best], boxes[rest]) > iou_threshold
        order = rest[~(overlapping & (classes[rest] == classes[best]))]
    return np.array(kept, np.int64)
