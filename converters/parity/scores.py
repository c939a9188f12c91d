"""What a search holds its budget against: accuracy with labels, or agreement with the trained model, each 0–1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from converters.interface import Interval
from converters.parity.agreement import (
    SAME_VALUE,
    Reader,
    best_class,
    map_agreement,
    same_objects,
    same_points,
    seen_points,
    spreads_of,
    value_error,
)
from converters.parity.metrics import DetectedPicture, claim, mean_iou, overlap, precision_of, uncut
from converters.statistics import bootstrapped, paired_difference, proportion
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import UsageError
from device_runtime.tasks.interface import Candidates, ClassMap
from device_runtime.vision.frame import Tensor
from device_runtime.vision.placement import Boxes, Mask, no_class

Indices = npt.NDArray[np.int64]
Outputs = Sequence[Tensor]
"""A model's outputs over all samples: (n, …) real values each."""

POINT = 0.01
_UNKNOWN = -1
"""The class of a cell that nobody labelled."""
METRIC_OF_TASK = {"classification": "top1", "detection": "map", "segmentation": "miou"}
"""The metric of each task whose pictures have labels; ``agreement`` needs none."""


@dataclass(frozen=True)
class TrueObjects:
    """The objects of a picture: ``boxes`` (m, 4) float32 x1 y1 x2 y2 in fractions of the input, ``classes`` (m,)."""

    boxes: Boxes
    classes: npt.NDArray[np.int64]


Truth = int | TrueObjects | Mask
"""What is in a picture: a class, objects, or the class of each pixel of the input (see ``Mask``)."""


@dataclass(frozen=True)
class Measured:
    """A metric of one model over ``count`` samples.

    ``figure`` computes it from some of them (positions, maybe repeated); ``hits`` (n,) bool says of each sample
    whether it counts, where the metric is a share of samples.
    """

    count: int
    figure: Callable[[Indices], float]
    hits: npt.NDArray[np.bool_] | None = None

    @property
    def value(self) -> float:
        """The metric over all samples."""
        return self.figure(np.arange(self.count))

    def interval(self, seed: int) -> Interval:
        """Return the metric with its 95% confidence interval."""
        if self.hits is not None:
            return proportion(int(self.hits.sum()), self.count)
        return bootstrapped(self.figure, self.count, seed)

    def drop_from(self, baseline: Measured, seed: int) -> Interval:
        """Return by how many points the metric is lower than ``baseline``'s over the same samples."""
        if self.hits is not None and baseline.hits is not None:
            lost, won = baseline.hits & ~self.hits, self.hits & ~baseline.hits
            found = paired_difference(int(lost.sum()), int(won.sum()), self.count)
        else:
            found = bootstrapped(lambda rows: baseline.figure(rows) - self.figure(rows), self.count, seed)
        return Interval(found.value / POINT, found.low / POINT, found.high / POINT)


class Scorer:
    """Scores models of one specification on one set of samples."""

    def __init__(self, metric: str, spec: ModelSpec, source: Outputs, truths: Sequence[Truth] | None) -> None:
        """Prepare to score.

        Args:
            metric: one of ``converters.interface.METRICS``.
            spec: what the outputs mean.
            source: the trained model's outputs for the samples.
            truths: the samples' labels; ``agreement`` needs none.

        Raises:
            UsageError: the metric is of another task, or needs labels that are not there.
        """
        own = METRIC_OF_TASK.get(spec.task.name)
        if metric not in (own, "agreement"):
            wanted = f"{own} or agreement" if own else "agreement"
            raise UsageError(f"--metric {metric}: the metric of a {spec.task.name} model is {wanted}")
        if metric == own and truths is None:
            raise UsageError(
                f"--metric {metric} needs pictures with labels, and has none",
                hint="give a labelled data set: --evaluation DATASET; or --metric agreement",
            )
        self._reader = Reader(replace(spec, task=uncut(spec.task)) if metric == "map" else spec)
        self._source = source
        self._truths = truths if metric == own else None

    def measure(self, outputs: Outputs) -> Measured:
        """Score a model by its outputs for the samples."""
        task = self._reader.spec.task.name
        if task == "detection":
            return self._objects(outputs)
        if task == "pose":
            return self._poses(outputs)
        if task == "segmentation":
            return self._maps(outputs)
        if task == "regression":
            return self._numbers(outputs)
        return self._classes(outputs)

    def _classes(self, outputs: Outputs) -> Measured:
        found = [best_class(row) for row in outputs[0]]
        wanted = self._truths if self._truths is not None else [best_class(row) for row in self._source[0]]
        return _share(np.array([one == two for one, two in zip(found, wanted, strict=True)]))

    def _objects(self, outputs: Outputs) -> Measured:
        found = self._candidates(outputs)
        if self._truths is not None:
            return _average_precision(found, self._truths, self._reader.spec)
        pairs = list(zip(self._candidates(self._source), found, strict=True))
        same = np.array([2 * same_objects(one, two) for one, two in pairs])
        all_ = np.array([len(one.classes) + len(two.classes) for one, two in pairs])
        return Measured(len(pairs), lambda rows: _ratio(same[rows].sum(), all_[rows].sum()))

    def _poses(self, outputs: Outputs) -> Measured:
        pairs = list(zip(self._candidates(self._source), self._candidates(outputs), strict=True))
        same = np.array([2 * same_points(one, two) for one, two in pairs])
        all_ = np.array([seen_points(one) + seen_points(two) for one, two in pairs])
        return Measured(len(pairs), lambda rows: _ratio(same[rows].sum(), all_[rows].sum()))

    def _maps(self, outputs: Outputs) -> Measured:
        found = [ids.astype(np.int64) for ids in self._ids(outputs)]
        if self._truths is None:
            truths = [ids.astype(np.int64) for ids in self._ids(self._source)]
        else:
            truths = [_to_cells(mask, found[0].shape) for mask in self._masks()]
        classes = max(int(ids.max(initial=0)) for ids in (*found, *truths)) + 1
        counts = np.stack([overlap(one, two, classes, _UNKNOWN) for one, two in zip(truths, found, strict=True)])
        if self._truths is None:
            return Measured(len(found), lambda rows: map_agreement(counts[rows].sum(axis=0)))
        return Measured(len(found), lambda rows: mean_iou(counts[rows].sum(axis=0)).mean)

    def _numbers(self, outputs: Outputs) -> Measured:
        spreads = np.concatenate([spreads_of(output) for output in self._source])
        pairs = zip(_rows(self._source), _rows(outputs), strict=True)
        return _share(np.array([value_error(one, two, spreads) <= SAME_VALUE for one, two in pairs]))

    def _masks(self) -> list[Mask]:
        return [truth for truth in self._truths or () if isinstance(truth, np.ndarray)]

    def _candidates(self, outputs: Outputs) -> list[Candidates]:
        return [self._reader.candidates(row) for row in zip(*outputs, strict=True)]

    def _ids(self, outputs: Outputs) -> list[Mask]:
        found = [self._reader.found(row) for row in zip(*outputs, strict=True)]
        return [each.ids for each in found if isinstance(each, ClassMap)]


def _rows(outputs: Outputs) -> npt.NDArray[np.float64]:
    """Return all values of each sample in one row."""
    rows = [output.reshape(len(output), -1).astype(np.float64) for output in outputs]
    return np.concatenate(rows, axis=1)


def _share(hits: npt.NDArray[np.bool_]) -> Measured:
    return Measured(len(hits), lambda rows: float(hits[rows].mean()), hits)


def _average_precision(found: list[Candidates], truths: Sequence[Truth], spec: ModelSpec) -> Measured:
    nothing = np.zeros((0, 4), np.float32)
    pictures = [
        DetectedPicture(
            each.boxes if each.boxes is not None else nothing, each.scores, each.classes, truth.boxes, truth.classes
        )
        for each, truth in zip(found, truths, strict=True)
        if isinstance(truth, TrueObjects)
    ]
    present = [ids for each in pictures for ids in (each.classes, each.true_classes) if len(ids)]
    classes = max(len(spec.labels), *(int(ids.max()) + 1 for ids in present)) if present else len(spec.labels)

    claimed = [claim(picture, classes) for picture in pictures]

    def figure(rows: Indices) -> float:
        drawn = [claimed[row] for row in rows]
        # A resample without a single object says nothing, of either model.
        return precision_of(drawn).mean if any(picture.truths.any() for picture in drawn) else 0.0

    return Measured(len(pictures), figure)


def _to_cells(mask: Mask, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Take the class at the centre of each of an output's cells; both cover the whole input."""
    rows = ((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0]).astype(np.intp)
    columns = ((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1]).astype(np.intp)
    cells = mask[rows[:, None], columns].astype(np.int64)
    return np.where(cells == no_class(mask), _UNKNOWN, cells)


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 1.0
