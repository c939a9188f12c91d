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
    one, two = (np.ascontiguousarray(boxes.T).reshape(2, 2, -1) for boxes in (rows, columns))
    common, union = _overlap(one[..., None], two[:, :, None])
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
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        corners, kinds = _columns(boxes, block), classes.take(block)
        covered = 0
        if len(kept):
            by_better = _covers(_columns(boxes, kept), classes.take(kept), corners, kinds, iou_threshold).any(axis=0)
            covered = int.from_bytes(np.packbits(by_better, bitorder="little").tobytes(), "little")
        rivals = _covers(corners, kinds, corners, kinds, iou_threshold)
        free = _uncovered(rivals, covered, max_items - len(kept))
        kept = np.concatenate([kept, block[free]]) if len(kept) else block[free]
        if len(kept) >= max_items:
            break
    return kept


def _uncovered(rivals: npt.NDArray[np.bool_], covered: int, most: int) -> list[int]:
    """Take one after another what nothing taken before covers, at most ``most``.

    Args:
        rivals: (n, n), whether the row's box covers the column's.
        covered: bit i is set where box i is covered already. Whole rows are joined as bits of one number: a loop over
            arrays costs ten times as much.
        most: stop after this many.
    """
    packed = np.packbits(rivals, axis=1, bitorder="little")
    width, data = packed.shape[1], packed.tobytes()
    found: list[int] = []
    for index in range(len(rivals)):
        if not covered >> index & 1:
            found.append(index)
            if len(found) == most:
                break
            covered |= int.from_bytes(data[index * width : (index + 1) * width], "little")
    return found


def _columns(boxes: Boxes, which: npt.NDArray[np.int64]) -> Boxes:
    """Return some of (n, 4) boxes as ((x1, y1), (x2, y2), …): (2, 2, m), so that each number stands in a row."""
    # take: a third of what an index in brackets costs.
    return np.ascontiguousarray(boxes.take(which, axis=0).T).reshape(2, 2, -1)


def _covers(
    better: Boxes, its_classes: Classes, others: Boxes, their_classes: Classes, threshold: float
) -> npt.NDArray[np.bool_]:
    """Tell which of (2, 2, n) boxes suppress which of (2, 2, m): (n, m) bool.

    ``intersection > threshold * union`` is the same as their quotient, without its division and its cases.
    """
    common, union = _overlap(better[..., None], others[:, :, None])
    union *= np.float32(threshold)
    covered: npt.NDArray[np.bool_] = common > union
    covered &= its_classes[:, None] == their_classes
    return covered


def _overlap(one: Boxes, two: Boxes) -> tuple[Boxes, Boxes]:
    """Return intersection and union, (n, m) each, of boxes (2, 2, n, 1) and (2, 2, 1, m)."""
    # x and y in one: with few boxes, a call of NumPy's costs more than its work.
    lengths = np.minimum(one[1], two[1])
    lengths -= np.maximum(one[0], two[0])
    np.maximum(lengths, _NONE, out=lengths)
    common = np.multiply(lengths[0], lengths[1], out=lengths[0])
    union = np.add(_areas(one), _areas(two), out=lengths[1])
    union -= common
    return common, union


def _areas(boxes: Boxes) -> Boxes:
    """Return the areas (…) of boxes ((x1, y1), (x2, y2), …)."""
    sides = np.maximum(boxes[1] - boxes[0], _NONE)
    areas: Boxes = sides[0] * sides[1]
    return areas
