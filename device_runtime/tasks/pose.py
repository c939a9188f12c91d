"""Pose heads: the points of bodies, or of anything else that has named points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runtime.contract.model import ModelSpec, ScoreActivation
from device_runtime.engine.values import real
from device_runtime.tasks.interface import Candidates, require_finite
from device_runtime.tasks.selection import sigmoid
from device_runtime.vision.frame import Tensor
from device_runtime.vision.placement import Boxes, Points

SEEN = 0.2
"""Score from which a point counts as seen: for a pose's box, for agreement and for drawing.

As in TensorFlow's tutorial of MoveNet (MIN_CROP_KEYPOINT_SCORE).
"""


def decode_movenet(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, 1, k, 3): y, x, score of the k points of one pose, y and x as fractions of the input.

    The pose's score is the mean of its points' scores. Its box surrounds the points that are seen (``SEEN``).
    """
    points = real(outputs[0].reshape(1, -1, 3)[..., [1, 0, 2]], spec.outputs[0])
    require_finite(points, spec.outputs[0])
    return _one_pose(points, spec)


def decode_movenet_multipose(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode (1, n, 3 k + 5): y, x, score of k points, then ymin, xmin, ymax, xmax, score of n poses.

    All coordinates are fractions of the input; the pose's score is the model's own.
    """
    info = spec.outputs[0]
    rows = real(outputs[0][0], info)
    require_finite(rows, info)
    scores = rows[:, -1]
    kept = np.flatnonzero(scores >= np.float32(spec.task.score_threshold))
    kept = kept[np.argsort(-scores[kept], kind="stable")][: spec.task.max_items]
    points = rows[kept, :-5].reshape(len(kept), (rows.shape[1] - 5) // 3, 3)[..., [1, 0, 2]]
    boxes = rows[kept, -5:-1][:, [1, 0, 3, 2]]
    return Candidates(np.zeros(len(kept), np.int64), np.minimum(scores[kept], np.float32(1)), boxes, points)


def decode_heatmaps(outputs: Sequence[Tensor], spec: ModelSpec) -> Candidates:
    """Decode heat maps (1, h, w, k) of k points of one pose, and offsets (1, h, w, 2 k) where there are any.

    A point is in its map's highest cell, of equal ones the first; the cell's value, after ``score_activation``, is its
    score. Without offsets it is in the cell's middle. With them it is ``cell / (cells - 1) * side + offset`` input px:
    k offsets in y, then k in x (PoseNet; Papandreou et al. 2018, section 3.1). The pose's score is the mean of its
    points' scores; its box surrounds the points that are seen (``SEEN``).
    """
    maps, info = outputs[0][0], spec.outputs[0]
    if maps.dtype.kind == "f":
        require_finite(maps, info)
    height, width, count = maps.shape
    cells = maps.reshape(-1, count).argmax(axis=0)
    rows, columns = np.divmod(cells, width)
    which = np.arange(count)
    scores = real(maps[rows, columns, which], info)
    if spec.task.score_activation is ScoreActivation.SIGMOID:
        scores = sigmoid(scores)
    if len(outputs) == 1:
        x, y = (columns + 0.5) / width, (rows + 0.5) / height
    else:
        prep = spec.image_prep
        shifts = real(outputs[1][0, rows, columns], spec.outputs[1])
        require_finite(shifts, spec.outputs[1])
        y = rows / max(height - 1, 1) + shifts[which, which] / prep.height
        x = columns / max(width - 1, 1) + shifts[which, count + which] / prep.width
    return _one_pose(np.stack([x, y, scores], axis=1).astype(np.float32)[None], spec)


def box_around(points: Points) -> Boxes:
    """Return the smallest boxes around the points that are seen, or around all where none is.

    Args:
        points: (n, k, 3) x y score.

    Returns:
        (n, 4) float32 x1 y1 x2 y2 in the points' unit.
    """
    seen = points[..., 2:] >= np.float32(SEEN)
    seen = seen | ~seen.any(axis=1, keepdims=True)
    low = np.where(seen, points[..., :2], np.inf).min(axis=1)
    high = np.where(seen, points[..., :2], -np.inf).max(axis=1)
    boxes: Boxes = np.concatenate([low, high], axis=1).astype(np.float32)
    return boxes


def _one_pose(points: Points, spec: ModelSpec) -> Candidates:
    """Return the pose (1, k, 3) when its score reaches the threshold."""
    scores = np.minimum(points[..., 2].mean(axis=1, dtype=np.float32), np.float32(1))
    kept = points[scores >= np.float32(spec.task.score_threshold)]
    return Candidates(np.zeros(len(kept), np.int64), scores[: len(kept)], box_around(kept), kept)
