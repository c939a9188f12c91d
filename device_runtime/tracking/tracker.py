"""Objects get numbers that they keep: ByteTrack's association, by elapsed time instead of by counted frames.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box" (ECCV 2022), algorithm 1: tracks are
first paired with the detections of high score, then those that are left with the detections of low score, which are
mostly objects that are half hidden; only a detection of high score can be a new object.

A third pairing is added, for slow frames: a box that overlaps no track can be an object that has come far since the
frame before. How far is what the filter's uncertainty says, as in DeepSORT (Wojke et al., ICIP 2017, equation 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import TaskSpec
from device_runtime.contract.prediction import Item, Prediction
from device_runtime.errors import UsageError
from device_runtime.tasks.boxes import pairwise_iou
from device_runtime.tracking.assignment import assign
from device_runtime.tracking.extent import BOXLESS_TASKS, extent_of
from device_runtime.tracking.motion import Motion

_LOST_S = 1.5
"""How long an unseen object is waited for. ByteTrack's is 30 frames, a second; here one of a second must be safe."""

# The least overlap with where a track is expected, for detections of high and of low score: ByteTrack's
# implementation has 1 - 0.8 and 1 - 0.5.
_HIGH_IOU = 0.2
_LOW_IOU = 0.5

_REACH = 9.21
"""The squared distance within which 99% of what comes from a place ends: chi-squared with two degrees of freedom."""

_LIKE = 0.5
"""What does not overlap has to have the same size, up to this factor of the areas."""

START_SCORE = 0.5
"""The score that makes a new object; ByteTrack's is 0.5–0.6."""


Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Gain = Callable[[Rows, npt.NDArray[np.float32]], npt.NDArray[Any]]
"""What pairing tracks (n) with boxes (k, 4) gains: (n, k), 0 or less where it must not be done."""


@dataclass(frozen=True)
class _Seen:
    """What a frame shows, in an order that does not depend on that of its items.

    ``places`` (n,) are their places among the items; ``boxes`` (n, 4) float32 x1 y1 x2 y2; ``classes`` and ``scores``
    (n,).
    """

    places: list[int]
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


class Tracker:
    """Gives each object a number, from 1 on, that it keeps while it is seen, and over a second without being seen.

    It works with detections and poses, of each class by itself. Numbers are not given twice.
    """

    def __init__(self, task: TaskSpec, start_score: float = START_SCORE) -> None:
        """Begin without objects; an object is new from ``start_score`` on.

        Raises:
            UsageError: the task's items have no place in the frame.
        """
        if task.name in BOXLESS_TASKS:
            raise UsageError(
                f"tracking: expected a model that finds objects, got the task {task.name}",
                hint="set tracking = false in [service]",
            )
        self._start_score = max(start_score, task.score_threshold)
        self._motion = Motion()
        self._ids: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._classes: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._unseen_s: npt.NDArray[np.float64] = np.empty(0)
        self._given = 0
        self._size: tuple[int, int] | None = None
        self._now_ns: int | None = None

    def update(self, prediction: Prediction, frame_size: tuple[int, int]) -> Prediction:
        """Return the prediction with ``track`` set in its items; frames come in the order of their capture.

        An item has no number when its score is too low for a new object, or when it has no place.

        Args:
            prediction: of the next frame.
            frame_size: the frame's width and height in px.
        """
        followed = self._advance(prediction.captured_ns, frame_size)
        seen = _look(prediction.items)
        if not seen.places and not len(self._ids):
            return prediction
        high = seen.scores >= self._start_score
        tracks: dict[int, int] = {}  # row of seen → number
        self._pair(seen, np.flatnonzero(high), self._overlap(_HIGH_IOU), tracks)
        self._pair(seen, np.flatnonzero(~high), self._overlap(_LOW_IOU), tracks)
        self._pair(seen, np.flatnonzero(high), self._nearness, tracks, followed)
        self._begin(seen, [row for row in np.flatnonzero(high).tolist() if row not in tracks], tracks)
        items = list(prediction.items)
        for row, number in tracks.items():
            place = seen.places[row]
            items[place] = dataclasses.replace(items[place], track=number)
        return dataclasses.replace(prediction, items=tuple(items))

    def _advance(self, captured_ns: int, frame_size: tuple[int, int]) -> Flags:
        """Let the time since the frame before pass, and forget who was not seen for long.

        Returns:
            Which of the others were seen in the frame before.
        """
        if self._size is not None and self._size != frame_size:
            self._motion.scale(frame_size[0] / self._size[0], frame_size[1] / self._size[1])
        elapsed_s = 0.0 if self._now_ns is None else max(0.0, (captured_ns - self._now_ns) / 1e9)
        self._size, self._now_ns = frame_size, captured_ns
        lost = self._unseen_s > 0
        self._unseen_s = self._unseen_s + elapsed_s
        kept = self._unseen_s <= _LOST_S
        if not kept.all():
            self._motion.keep(kept)
            self._ids, self._classes = self._ids[kept], self._classes[kept]
            self._unseen_s, lost = self._unseen_s[kept], lost[kept]
        self._motion.advance(elapsed_s, lost)
        return ~lost

    def _pair(self, seen: _Seen, rows: Rows, gain: Gain, tracks: dict[int, int], among: Flags | None = None) -> None:
        """Pair tracks that are free, ``among`` these if given, with detections of ``rows`` that are."""
        taken = set(tracks.values())
        rows = np.array([row for row in rows.tolist() if row not in tracks], np.int64)
        free = np.array([place for place, number in enumerate(self._ids.tolist()) if number not in taken], np.int64)
        if among is not None:
            free = free[among[free]]
        if not len(rows) or not len(free):
            return
        same = self._classes[free][:, None] == seen.classes[rows]
        pairs = assign(np.where(same, gain(free, seen.boxes[rows]), 0.0))
        matched = [int(free[one]) for one, _ in pairs]
        found = [int(rows[other]) for _, other in pairs]
        self._motion.correct(matched, seen.boxes[found])
        self._unseen_s[matched] = 0.0
        tracks.update(zip(found, self._ids[matched].tolist(), strict=True))

    def _overlap(self, least: float) -> Gain:
        """Return what says by how much tracks and boxes overlap more than by ``least``."""
        return lambda free, boxes: pairwise_iou(self._motion.boxes()[free].astype(np.float32), boxes) - least

    def _nearness(self, free: Rows, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return how likely it is that an object came from where a track was to where a box is; of like size only."""
        areas = _areas(self._motion.boxes()[free])[:, None] / _areas(boxes)
        like = (areas > _LIKE) & (areas < 1 / _LIKE)
        return np.where(like, 1 - self._motion.distances(free, boxes) / _REACH, 0.0)

    def _begin(self, seen: _Seen, rows: list[int], tracks: dict[int, int]) -> None:
        if not rows:
            return
        numbers = range(self._given + 1, self._given + 1 + len(rows))
        self._given += len(rows)
        self._motion.add(seen.boxes[rows])
        self._ids = np.concatenate([self._ids, np.array(numbers, np.int64)])
        self._classes = np.concatenate([self._classes, seen.classes[rows]])
        self._unseen_s = np.concatenate([self._unseen_s, np.zeros(len(rows))])
        tracks.update(zip(rows, numbers, strict=True))


def _areas(boxes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    areas: npt.NDArray[Any] = sides[:, 0] * sides[:, 1]
    return areas


def _look(items: tuple[Item, ...]) -> _Seen:
    found = [
        (item.index, -(item.score or 0.0), box, place)
        for place, item in enumerate(items)
        if (box := extent_of(item)) is not None and box[2] > box[0] and box[3] > box[1]
    ]
    found.sort(key=lambda one: one[:3])
    return _Seen(
        [one[3] for one in found],
        np.array([one[2] for one in found], np.float32).reshape(-1, 4),
        np.array([one[0] for one in found], np.int64),
        np.array([-one[1] for one in found], np.float64),
    )
