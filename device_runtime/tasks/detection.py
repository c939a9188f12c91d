"""Detection heads: boxes with a class and a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runtime.contract.model import BoxFormat, ModelSpec, ScoreActivation, SsdAnchors, TensorSpec
from device_runtime.engine.values import real
from device_runtime.tasks.anchors import anchor_boxes, relative_to
from device_runtime.tasks.boxes import to_xyxy
from device_runtime.tasks.interface import Candidates, Classes, Scores, require_finite
from device_runtime.tasks.selection import (
    Rows,
    activated_threshold,
    apart,
    reaching,
    sigmoid,
    softmax,
    the_best,
    to_fractions,
)
from device_runtime.vision.frame import Tensor


def decode_postprocess(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode the four outputs of TFLite's ``TFLite_Detection_PostProcess`` operator; NMS is done there.

    Boxes (1, n, 4) y1 x1 y2 x2 as fractions, classes (1, n), scores (1, n), count (1,): all float32. Entries beyond
    ``count`` hold whatever memory held, so they are never looked at.
    """
    boxes, classes, scores, count = (real(tensor, info) for tensor, info in zip(outputs, spec.outputs, strict=True))
    found = round(min(max(float(count.reshape(-1)[0]), 0.0), float(scores.size)))
    scores = scores.reshape(-1)[:found]
    require_finite(scores, spec.outputs[2])
    boxes = boxes.reshape(-1, 4)[:found]
    require_finite(boxes, spec.outputs[0])
    kept = np.flatnonzero(scores >= spec.task.score_threshold)
    kept = kept[np.argsort(-scores[kept], kind="stable")][: spec.task.max_items]
    indices = np.rint(classes.reshape(-1)[:found][kept]).astype(np.int64)
    return Candidates(indices, scores[kept], to_xyxy(boxes[kept], BoxFormat.YXYX))


def decode_boxes_scores(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode boxes (1, n, 4) in ``box_format`` and ``box_unit``, and class scores (1, n, classes), with NMS.

    ``score_activation`` is applied to the scores; with ``background`` their first class is left out. A box is found
    once for each of its classes that reaches the threshold.
    """
    rows, classes, scores = _above(outputs[1], spec)
    boxes = real(outputs[0].reshape(-1, 4)[rows], spec.outputs[0])
    require_finite(boxes, spec.outputs[0])
    return apart(to_fractions(boxes, spec, spec.task.box_format), scores, classes, spec)


def decode_ssd(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode a raw SSD head: box codes (1, n, 4) or (1, n, 1, 4) ty tx th tw, and class scores (1, n, classes).

    Codes are relative to the n anchors that ``spec.task.anchors`` describes; scores are as in ``decode_boxes_scores``.
    """
    rows, classes, scores = _above(outputs[1], spec)
    codes = real(outputs[0].reshape(-1, 4)[rows], spec.outputs[0])
    require_finite(codes, spec.outputs[0])
    anchors = spec.task.anchors or SsdAnchors()
    around = anchor_boxes(anchors, spec.image_prep.width, spec.image_prep.height)[rows]
    return apart(relative_to(around, codes, anchors.box_scales), scores, classes, spec)


def _above(tensor: Tensor, spec: ModelSpec) -> tuple[Rows, Classes, Scores]:
    """Return box, class and real score of what reaches the threshold, at most as many as may enter NMS.

    Scores are compared where they are stored: a threshold can be quantised, and have its sigmoid undone. Softmax needs
    all of a box's classes.
    """
    task, info = spec.task, spec.outputs[1]
    first = int(task.background)
    stored = tensor.reshape(-1, tensor.shape[-1])
    if stored.dtype.kind == "f":
        require_finite(stored, info)
    if task.score_activation is ScoreActivation.SOFTMAX:
        stored, info = softmax(real(stored, info)), TensorSpec(info.name, info.shape, "float32")
    least = activated_threshold(task.score_threshold, task.score_activation)
    rows, classes = np.divmod(reaching(least, stored.reshape(-1), info), stored.shape[1])
    if first:
        real_ones = classes >= first
        rows, classes = rows[real_ones], classes[real_ones]
    scores = real(stored[rows, classes], info)
    if task.score_activation is ScoreActivation.SIGMOID:
        scores = sigmoid(scores)
    best = the_best(scores)
    return rows[best], classes[best].astype(np.int64) - first, scores[best]
