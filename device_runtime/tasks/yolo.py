"""YOLO heads: boxes and class scores in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runtime.contract.model import BoxFormat, ModelSpec
from device_runtime.engine.values import real
from device_runtime.tasks.interface import Candidates, require_finite
from device_runtime.tasks.selection import (
    apart,
    best_of_columns,
    best_of_rows,
    reaching,
    the_best,
    to_fractions,
)
from device_runtime.vision.frame import Tensor


def decode_yolov5(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, n, 5 + classes): centre x, centre y, width, height, objectness, class scores, with NMS.

    Heads of YOLOv5 and v7. A box is of its best class; its score is objectness times that class's score. ``box_unit``
    tells what the coordinates are counted in.
    """
    rows_of, info = outputs[0][0], spec.outputs[0]
    _require_numbers(rows_of, spec)
    # A product with a class score of 1 or less reaches the threshold only where objectness does.
    rows = reaching(spec.task.score_threshold, rows_of[:, 4], info)
    chosen = rows_of[rows]
    classes = chosen[:, 5:].argmax(axis=1)
    surest = real(chosen[np.arange(len(rows)), classes + 5], info)
    scores = real(chosen[:, 4], info) * np.minimum(surest, np.float32(1))
    kept = np.flatnonzero(scores >= np.float32(spec.task.score_threshold))
    kept = kept[the_best(scores[kept])]
    boxes = to_fractions(real(chosen[kept, :4], info), spec, BoxFormat.CXCYWH)
    return apart(boxes, scores[kept], classes[kept].astype(np.int64), spec)


def decode_yolov8(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, 4 + classes, n): rows of centre x, centre y, width, height, and one row for each class, with NMS.

    Heads of YOLOv8, v9, v11 and v12. A box is of its best class. ``box_unit`` tells what the coordinates are counted
    in.
    """
    columns, info = outputs[0][0], spec.outputs[0]
    _require_numbers(columns, spec)
    rows, classes, scores = best_of_columns(columns[4:], info, spec.task.score_threshold)
    best = the_best(scores)
    boxes = to_fractions(real(columns[:4].take(rows[best], axis=1).T, info), spec, BoxFormat.CXCYWH)
    return apart(boxes, scores[best], classes[best], spec)


def decode_yolov8_transposed(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, n, 4 + classes): what ``decode_yolov8`` decodes, box by box."""
    rows_of, info = outputs[0][0], spec.outputs[0]
    _require_numbers(rows_of, spec)
    rows, classes, scores = best_of_rows(rows_of[:, 4:], info, spec.task.score_threshold)
    best = the_best(scores)
    boxes = to_fractions(real(rows_of[rows[best], :4], info), spec, BoxFormat.CXCYWH)
    return apart(boxes, scores[best], classes[best], spec)


def decode_yolo_end2end(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, n, 6): x1, y1, x2, y2, score, class of boxes that need no NMS, in any order.

    Heads of YOLOv10 and v26, and others that were exported with their NMS. ``box_unit`` tells what the coordinates are
    counted in.
    """
    rows_of, info = outputs[0][0], spec.outputs[0]
    _require_numbers(rows_of, spec)
    rows = reaching(spec.task.score_threshold, rows_of[:, 4], info)
    chosen = real(rows_of[rows], info)
    chosen = chosen[np.argsort(-chosen[:, 4], kind="stable")[: spec.task.max_items]]
    scores = np.minimum(chosen[:, 4], np.float32(1))
    return Candidates(np.rint(chosen[:, 5]).astype(np.int64), scores, to_fractions(chosen[:, :4], spec, BoxFormat.XYXY))


def decode_yolov8_pose(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, 5 + 3 k, n): rows of centre x, centre y, width, height, score, and x, y, score of k points, with NMS.

    Heads of YOLOv8-pose and v11-pose for one class. A pose's score is the model's own. ``box_unit`` tells what the
    coordinates, of points too, are counted in.
    """
    columns, info = outputs[0][0], spec.outputs[0]
    _require_numbers(columns, spec)
    rows, classes, scores = best_of_columns(columns[4:5], info, spec.task.score_threshold)
    best = the_best(scores)
    chosen = real(columns.take(rows[best], axis=1).T, info)
    boxes = to_fractions(chosen[:, :4], spec, BoxFormat.CXCYWH)
    points = chosen[:, 5:].reshape(len(chosen), (len(columns) - 5) // 3, 3)
    # A point is a box without a size: the same unit, the same way to fractions.
    flat = np.tile(points[..., :2].reshape(-1, 2), 2)
    points[..., :2] = to_fractions(flat, spec, BoxFormat.XYXY)[:, :2].reshape(points[..., :2].shape)
    return apart(boxes, scores[best], classes[best], spec, points=points)


def _require_numbers(tensor: Tensor, spec: ModelSpec) -> None:
    if tensor.dtype.kind == "f":
        require_finite(tensor, spec.outputs[0])
