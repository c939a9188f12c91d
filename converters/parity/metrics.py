"""Accuracy over labelled pictures: top-k for classifiers, mean average precision for detectors, mean IoU for maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import TaskSpec
from device_runtime.tasks.boxes import iou
from device_runtime.vision.placement import Boxes

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
ClassIds = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class DetectedPicture:
    """What a detector found in one picture, and what is there.

    ``boxes`` (n, 4) float32 x1 y1 x2 y2, ``scores`` (n,) float32 and ``classes`` (n,) int64 are the detections, in
    any order; ``true_boxes`` (m, 4) and ``true_classes`` (m,) the truth. Boxes are in one unit, px as a rule.
    """

    boxes: Boxes
    scores: Floats
    classes: Integers
    true_boxes: Boxes
    true_classes: Integers

    def __post_init__(self) -> None:
        found, truths = len(self.scores), len(self.true_classes)
        if self.boxes.shape != (found, 4) or self.classes.shape != (found,) or self.scores.ndim != 1:
            raise ValueError(
                f"detections: expected (n, 4), (n,) and (n,), "
                f"got {self.boxes.shape}, {self.scores.shape} and {self.classes.shape}"
            )
        if self.true_boxes.shape != (truths, 4) or self.true_classes.ndim != 1:
            raise ValueError(f"truth: expected (m, 4) and (m,), got {self.true_boxes.shape}, {self.true_classes.shape}")


@dataclass(frozen=True, slots=True)
class ClaimedPicture:
    """A picture whose detections were matched with its truths.

    Of each detection ``scores`` (n,), ``classes`` (n,), and ``hits`` (n,) bool: whether it claims a truth; ``truths``
    (classes,) counts the true objects of each class.
    """

    scores: Floats
    classes: Integers
    hits: npt.NDArray[np.bool_]
    truths: Integers


def uncut(task: TaskSpec) -> TaskSpec:
    """Return a detection task that leaves hardly any score out: mean average precision integrates over all of them.

    COCO's evaluation counts at most 100 objects a picture (cocoeval, maxDets).
    """
    return replace(task, score_threshold=0.01, max_items=100)


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """``mean`` over the classes that occur (0–1), and each class's own; None for a class that never occurs."""

    mean: float
    per_class: tuple[float | None, ...]
    truths: tuple[int, ...]


def mean_average_precision(
    pictures: Sequence[DetectedPicture], classes: int, iou_threshold: float = 0.5
) -> AveragePrecision:
    """Return the mean over classes of the area under the precision–recall curve.

    Detections of all pictures are taken by falling score; each claims the truth of its class that it overlaps most
    among those not yet claimed, when the overlap reaches ``iou_threshold``, and is a false positive otherwise (the
    matching of COCO, https://cocodataset.org/#detection-eval). The area is exact, under the curve made
    monotonic from the right ("all-point interpolation": Everingham et al., The PASCAL Visual Object Classes
    Challenge: A Retrospective, IJCV 2015, and the VOC 2010 development kit).

    Args:
        pictures: what was found and what is there. Nothing may be cut off at a score: that lowers the result.
        classes: number of classes; a class without truth in any picture does not count.
        iou_threshold: 0–1; 0.5 is PASCAL VOC's.

    Raises:
        ValueError: a class index is out of range, or no picture has a truth.
    """
    return precision_of([claim(picture, classes, iou_threshold) for picture in pictures])


def claim(picture: DetectedPicture, classes: int, iou_threshold: float = 0.5) -> ClaimedPicture:
    """Match one picture's detections with its truths, as ``mean_average_precision`` does.

    Raises:
        ValueError: a class index is out of range.
    """
    for indices in (picture.classes, picture.true_classes):
        if len(indices) and not (indices.min() >= 0 and indices.max() < classes):
            raise ValueError(f"expected class indices 0–{classes - 1}, got {indices.min()}–{indices.max()}")
    hits = np.zeros(len(picture.scores), bool)
    for index in np.unique(picture.classes):
        mine = picture.classes == index
        truths = picture.true_boxes[picture.true_classes == index]
        hits[mine] = _claims(picture.boxes[mine], picture.scores[mine], truths, iou_threshold)
    return ClaimedPicture(picture.scores, picture.classes, hits, np.bincount(picture.true_classes, minlength=classes))


def precision_of(pictures: Sequence[ClaimedPicture]) -> AveragePrecision:
    """Return the mean average precision of pictures whose detections were matched; see ``mean_average_precision``.

    Raises:
        ValueError: no picture has a truth.
    """
    truths = np.sum([picture.truths for picture in pictures], axis=0)
    if not truths.any():
        raise ValueError("expected at least one picture with a labelled object, got none")
    scores, classes, hits = (
        np.concatenate([getattr(picture, name) for picture in pictures]) for name in ("scores", "classes", "hits")
    )
    areas = [
        _average_precision(scores[classes == index], hits[classes == index], int(count)) if count else None
        for index, count in enumerate(truths)
    ]
    mean = float(np.mean([area for area in areas if area is not None]))
    return AveragePrecision(mean, tuple(areas), tuple(int(count) for count in truths))


def top_k_accuracy(scores: Floats, truths: Integers, k: int = 1) -> float:
    """Return the share (0–1) of samples whose true class is among the ``k`` best.

    Equal scores rank by class index, so that a model that says the same for all classes is not called right.

    Args:
        scores: (n, classes), higher is better.
        truths: (n,) class indices.
        k: 1 or more.

    Raises:
        ValueError: the shapes do not fit, there are no samples, or ``k`` is less than 1.
    """
    if scores.ndim != 2 or truths.shape != scores.shape[:1] or not len(truths):
        raise ValueError(f"expected (n, classes) scores and (n,) truths, got {scores.shape} and {truths.shape}")
    if k < 1:
        raise ValueError(f"k: expected 1 or more, got {k}")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(best == truths[:, None], axis=1)))


def per_class_accuracy(scores: Floats, truths: Integers, classes: int) -> tuple[float | None, ...]:
    """Return for each class the share (0–1) of its samples that are recognised; None for a class without samples."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, 0]
    shares: list[float | None] = []
    for index in range(classes):
        mine = truths == index
        shares.append(float(np.mean(best[mine] == index)) if mine.any() else None)
    return tuple(shares)


@dataclass(frozen=True, slots=True)
class MeanIou:
    """``mean`` over the classes that occur (0–1), and each class's own; None for one that is in neither map."""

    mean: float
    per_class: tuple[float | None, ...]


def overlap(truth: ClassIds, found: ClassIds, classes: int, ignore: int | None = 255) -> Integers:
    """Count the pixels that mean IoU is made of; counts of several pictures are added.

    Args:
        truth: class ids of any shape, 0 to ``classes - 1``, or ``ignore``.
        found: class ids of the same shape; what is found where the truth is ``ignore`` does not matter.
        classes: number of classes.
        ignore: the id of pixels without truth; 255 marks PASCAL VOC's "void". None: there are none.

    Returns:
        (3, classes): pixels where both are the class, pixels whose truth is, and pixels that were found to be. These
        are the diagonal and the sums of the rows and columns of the confusion matrix.

    Raises:
        ValueError: the shapes differ, or an id is out of range.
    """
    if truth.shape != found.shape:
        raise ValueError(f"expected maps of one shape, got {truth.shape} and {found.shape}")
    if ignore is not None:
        counted = truth != ignore
        truth, found = truth[counted], found[counted]
    for ids in (truth, found):
        if ids.size and not (ids.min() >= 0 and ids.max() < classes):
            raise ValueError(f"expected class ids 0–{classes - 1}, got {ids.min()}–{ids.max()}")
    sets = (truth[truth == found], truth, found)
    return np.stack([np.bincount(ids.reshape(-1), minlength=classes) for ids in sets])


def mean_iou(overlaps: Integers) -> MeanIou:
    """Return the mean over classes of intersection over union, over all pixels of all pictures together.

    That is PASCAL VOC's segmentation accuracy, true positives / (true positives + false positives + false negatives)
    (Everingham et al., IJCV 2015), the background counted as a class. A class that is in neither map does
    not count.

    Args:
        overlaps: (3, classes), see ``overlap``.

    Raises:
        ValueError: no pixel was counted.
    """
    common, truths, found = overlaps.astype(np.float64)
    union = truths + found - common
    if not union.any():
        raise ValueError("expected at least one pixel with a class, got none")
    shares = [float(same / both) if both else None for same, both in zip(common, union, strict=True)]
    return MeanIou(float(np.mean([share for share in shares if share is not None])), tuple(shares))


def _average_precision(scores: Floats, hits: npt.NDArray[np.bool_], truths: int) -> float:
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(hits[order])
    precision = right / np.arange(1, len(right) + 1)
    recall = right / truths
    # The best precision at this recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _claims(boxes: Boxes, scores: Floats, truths: Boxes, iou_threshold: float) -> npt.NDArray[np.bool_]:
    """Return for each detection whether it claims a truth: (n,) bool."""
    hits = np.zeros(len(boxes), bool)
    free = np.ones(len(truths), bool)
    for detection in np.argsort(-scores, kind="stable"):
        overlaps = np.where(free, iou(boxes[detection], truths), -1.0)
        if len(overlaps) and overlaps.max() >= iou_threshold:
            free[overlaps.argmax()] = False
            hits[detection] = True
    return hits
