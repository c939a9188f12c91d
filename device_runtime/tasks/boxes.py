"""Boxes: orders, overlap and non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import BoxFormat
from device_runtime.tasks.interface import Classes, Scores
from device_runtime.vision.placement import Boxes

_BLOCK = 128
_NONE = np.float32(0)
_TINY = np.finfo(np.float32).tiny


def to_xyxy(boxes: Boxes, order: BoxFormat) -> Boxes:
    """Return (n, 4) boxes of any order as x1 y1 x2 y2, in the same unit."""
    if order is BoxFormat.YXYX:
        return boxes[:, [1, 0, 3, 2]]
    if order is BoxFormat.CXCYWH:
        corners = np.empty_like(boxes)
        halves = boxes[:, 2:] * np.float32(0.5)
        np.subtract(boxes[:, :2], halves, out=corners[:, :2])
        np.add(boxes[:, :2], halves, out=corners[:, 2:])
        return corners
    return boxes


def iou(one: Boxes, others: Boxes) -> npt.NDArray[np.float32]:
    """Return intersection over union of a box (4,) with each of (n, 4): (n,) float32; 0 where both are empty."""
    shares: npt.NDArray[np.float32] = pairwise_iou(one[None], others)[0]
    return shares


def pairwise_iou(rows: Boxes, columns: Boxes) -> npt.NDArray[np.float32]:
    """Return intersection over union of each of (n, 4) with each of (m, 4): (n, m) float32."""
    # x and y in one: with few boxes, a call of NumPy's costs more than its work.
    one = np.ascontiguousarray(rows.T).reshape(2, 2, -1, 1)
    two = np.ascontiguousarray(columns.T).reshape(2, 2, 1, -1)
    lengths = np.minimum(one[1], two[1])
    lengths -= np.maximum(one[0], two[0])
    np.maximum(lengths, _NONE, out=lengths)
    common = np.multiply(lengths[0], lengths[1], out=lengths[0])
    union = np.add(_areas(one), _areas(two), out=lengths[1])
    union -= common
    # Two empty boxes have no union; any divisor gives the 0 that is meant.
    shares: npt.NDArray[np.float32] = np.divide(common, np.maximum(union, _TINY, out=union), out=common)
    return shares


def suppress(
    boxes: Boxes, scores: Scores, classes: Classes, iou_threshold: float, max_items: int
) -> npt.NDArray[np.int64]:
    """Greedy non-maximum suppression within each class.

    Overlaps are computed for a block of candidates at once: one by one, NumPy's calls cost more than their work.

    Args:
        boxes: (n, 4) float32 x1 y1 x2 y2.
        scores: (n,) float32.
        classes: (n,) int64; boxes of different classes never suppress each other.
        iou_threshold: a box that overlaps a better one of its class by more than this is left out.
        max_items: stop after this many.

    Returns:
        Indices of the kept boxes by falling score; equal scores keep their order.
    """
    if not len(scores):
        return np.empty(0, np.int64)
    order = np.argsort(-scores, kind="stable")
    kept = np.empty(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        spared = ~_covers(boxes, classes, block, block, iou_threshold)
        free = (
            ~_covers(boxes, classes, kept, block, iou_threshold).any(axis=0) if len(kept) else np.ones_like(spared[0])
        )
        for index in range(len(block)):
            if free[index]:
                free[index + 1 :] &= spared[index, index + 1 :]
        kept = np.concatenate([kept, block[free]])
        if len(kept) >= max_items:
            break
    return kept[:max_items]


def _covers(
    boxes: Boxes, classes: Classes, better: npt.NDArray[np.int64], others: npt.NDArray[np.int64], threshold: float
) -> npt.NDArray[np.bool_]:
    """Tell which of ``better`` suppress which of ``others``: (n, m) bool."""
    # take: a third of what an index in brackets costs.
    covered: npt.NDArray[np.bool_] = pairwise_iou(boxes.take(better, axis=0), boxes.take(others, axis=0)) > threshold
    covered &= classes.take(better)[:, None] == classes.take(others)
    return covered


def _areas(boxes: Boxes) -> Boxes:
    """Return the areas (…) of boxes ((x1, y1), (x2, y2), …)."""
    sides = np.maximum(boxes[1] - boxes[0], _NONE)
    areas: Boxes = sides[0] * sides[1]
    return areas
