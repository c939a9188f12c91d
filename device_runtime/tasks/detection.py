"""Detection heads: boxes with a class and a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import BoxFormat, ModelSpec, TensorSpec
from device_runtime.engine.values import real
from device_runtime.tasks.boxes import suppress, to_xyxy
from device_runtime.tasks.interface import Candidates, require_finite
from device_runtime.vision.frame import Tensor

_MAX_BEFORE_NMS = 1000
"""Candidates that enter NMS, the best ones; a scene with more objects than this is no detection task."""


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
    """Decode boxes (1, n, 4) in ``spec.task.box_format`` and class scores (1, n, classes) 0–1, with NMS.

    Scores are compared where they are stored (a quantised threshold), and only what passes it is dequantised.
    """
    box_info, score_info = spec.outputs
    stored = outputs[1].reshape(-1, outputs[1].shape[-1])
    if stored.dtype.kind == "f":
        require_finite(stored, score_info)
    rows, classes = np.nonzero(stored >= _stored_threshold(spec.task.score_threshold, score_info))
    scores = real(stored[rows, classes], score_info)
    if len(scores) > _MAX_BEFORE_NMS:
        best = np.argsort(-scores, kind="stable")[:_MAX_BEFORE_NMS]
        rows, classes, scores = rows[best], classes[best], scores[best]
    boxes = to_xyxy(real(outputs[0].reshape(-1, 4)[rows], box_info), spec.task.box_format)
    require_finite(boxes, box_info)
    kept = suppress(boxes, scores, classes, spec.task.iou_threshold, spec.task.max_items)
    return Candidates(classes[kept].astype(np.int64), scores[kept], boxes[kept])


def _stored_threshold(threshold: float, info: TensorSpec) -> npt.NDArray[np.float32] | int:
    """Return the smallest stored value whose real value reaches ``threshold``.

    The tolerance of 1e-6 steps lets a threshold that lies on a step in (0.5 with scale 1/256).
    """
    if not info.quantised:
        return np.array(threshold, np.float32)
    return math.ceil(threshold / info.scale + info.zero_point - 1e-6)
