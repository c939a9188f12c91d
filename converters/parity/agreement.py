"""Whether two models give the same answer: one judge for each task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from converters.parity.metrics import Integers, mean_iou, overlap
from device_runtime.contract.model import ModelSpec, TensorSpec
from device_runtime.contract.prediction import POSE_LABEL
from device_runtime.tasks.boxes import iou
from device_runtime.tasks.interface import Candidates, ClassMap, Found, Values
from device_runtime.tasks.pose import SEEN
from device_runtime.tasks.registry import decoder_of
from device_runtime.vision.frame import Tensor

_SAME_BOX_IOU = 0.5
_SAME_POINT = 0.1
SAME_VALUE = 0.05
"""Share of a value's spread over the samples by which two models may differ and still agree."""

_LEAST_CLASS = 0.001
"""Share of all cells below which a class of the source does not count. DeepLabv3 gave two classes 686 and 245 stray
cells in 107 photos, of 7 million; any rounding moves them, and they weighed as much as the persons' 662,866."""

_TOLD = 3

Real = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What each model says of a sample, in words; ``error`` is how much they differ, 0 and up, None if as usual."""

    source_says: str
    converted_says: str
    error: float | None = None


class Judge(Protocol):
    """Holds the answers of two models against each other, sample by sample."""

    def add(self, source: Sequence[Real], converted: Sequence[Real]) -> Verdict:
        """Take the real-valued outputs of both for one sample, without the batch."""

    @property
    def agreement(self) -> float:
        """How far they agree over all samples so far, 0–1; see ``ParityReport``."""


def judge_of(spec: ModelSpec, source: Sequence[Tensor]) -> Judge:
    """Return the judge for a task.

    Args:
        spec: what the outputs mean.
        source: the trained model's outputs over all samples, each (n, …), real values.
    """
    reader = Reader(spec)
    if spec.task.name == "detection":
        return _Objects(reader)
    if spec.task.name == "pose":
        return _Poses(reader)
    if spec.task.name == "segmentation":
        return _Maps(reader)
    if spec.task.name == "regression":
        return _Numbers(reader, source)
    return _Classes(reader)


def map_agreement(overlaps: Integers) -> float:
    """Return the mean IoU of a model's class maps with the source's, over all cells of all samples: 0–1.

    Only classes that cover at least 0.1% of the source's cells count; when none does, all count.

    Args:
        overlaps: (3, classes), see ``overlap``, with the source as the truth.
    """
    truths = overlaps[1]
    large = overlaps[:, truths >= max(1.0, _LEAST_CLASS * truths.sum())]
    return mean_iou(large if large.shape[1] else overlaps).mean


class Reader:
    """Decodes real values as the board decodes stored ones; outputs are those of one sample, without the batch."""

    def __init__(self, spec: ModelSpec) -> None:
        """Read what ``spec`` describes. Raises ModelError when the board could not: its scores are too coarse."""
        decoder_of(spec)
        real = tuple(TensorSpec(tensor.name, tensor.shape, "float32") for tensor in spec.outputs)
        self.spec = replace(spec, outputs=real)
        self._decode = decoder_of(self.spec)

    def found(self, outputs: Sequence[Real]) -> Found:
        """Return what the outputs mean."""
        return self._decode([values[None].astype(np.float32) for values in outputs], self.spec)

    def candidates(self, outputs: Sequence[Real]) -> Candidates:
        """Return the same where the task gives classes or objects."""
        found = self.found(outputs)
        if not isinstance(found, Candidates):
            raise TypeError(f"expected candidates, got {type(found).__name__}")
        return found

    def named(self, found: Candidates, count: int) -> str:
        """Return the best ``count`` with their scores."""
        return _listed(
            f"{self.spec.label_of(int(index))} {score:.2f}"
            for index, score in zip(found.classes[:count], found.scores[:count], strict=True)
        )


class _Classes:
    """The share of samples with the same best class."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._same = self._samples = 0

    def add(self, source: Sequence[Real], converted: Sequence[Real]) -> Verdict:
        self._samples += 1
        self._same += best_class(source[0]) == best_class(converted[0])
        said, says = (self._reader.named(self._reader.candidates(outputs), 1) for outputs in (source, converted))
        return Verdict(said, says)

    @property
    def agreement(self) -> float:
        return self._same / self._samples


class _Objects:
    """The F1 of the objects over all samples, class equal and IoU at least 0.5; finding nothing is agreeing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._same = self._all = 0

    def add(self, source: Sequence[Real], converted: Sequence[Real]) -> Verdict:
        one, two = self._reader.candidates(source), self._reader.candidates(converted)
        self._same += same_objects(one, two)
        self._all += len(one.classes) + len(two.classes)
        return Verdict(self._words(one), self._words(two))

    @property
    def agreement(self) -> float:
        return 2.0 * self._same / self._all if self._all else 1.0

    def _words(self, found: Candidates) -> str:
        more = len(found.classes) - _TOLD
        return self._reader.named(found, _TOLD) + (f" and {more} more" if more > 0 else "")


class _Poses:
    """The F1 of the seen points over all samples; see ``same_points``. Finding nothing is agreeing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._same = self._all = 0

    def add(self, source: Sequence[Real], converted: Sequence[Real]) -> Verdict:
        one, two = self._reader.candidates(source), self._reader.candidates(converted)
        self._same += same_points(one, two)
        self._all += seen_points(one) + seen_points(two)
        return Verdict(self._words(one), self._words(two))

    @property
    def agreement(self) -> float:
        return 2.0 * self._same / self._all if self._all else 1.0

    def _words(self, found: Candidates) -> str:
        """Return each pose's score and how many of its points are seen."""
        if found.points is None:
            return _listed(())
        more = len(found.scores) - _TOLD
        counts = np.count_nonzero(found.points[:_TOLD, :, 2] >= SEEN, axis=1).tolist()
        told = _listed(
            f"{POSE_LABEL} {score:.2f}, {count} points" for score, count in zip(found.scores, counts, strict=False)
        )
        return told + (f" and {more} more" if more > 0 else "")


class _Maps:
    """How far class maps are the same over all samples; see ``map_agreement``."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._overlap = np.zeros((3, 0), np.int64)

    def add(self, source: Sequence[Real], converted: Sequence[Real]) -> Verdict:
        one, two = self._ids(source), self._ids(converted)
        classes = max(int(one.max()), int(two.max()), self._overlap.shape[1] - 1) + 1
        known = np.pad(self._overlap, ((0, 0), (0, classes - self._overlap.shape[1])))
        self._overlap = known + overlap(one, two, classes, ignore=None)
        return Verdict(self._words(one), self._words(two))

    @property
    def agreement(self) -> float:
        return map_agreement(self._overlap)

    def _ids(self, outputs: Sequence[Real]) -> npt.NDArray[np.int64]:
        found = self._reader.found(outputs)
        if not isinstance(found, ClassMap):
            raise TypeError(f"expected a class map, got {type(found).__name__}")
        return found.ids.astype(np.int64)

    def _words(self, ids: npt.NDArray[np.int64]) -> str:
        counts = np.bincount(ids.reshape(-1))
        largest = np.argsort(-counts, kind="stable")[: min(np.count_nonzero(counts), _TOLD)]
        return _listed(f"{self._reader.spec.label_of(int(index))} {counts[index] / ids.size:.0%}" for index in largest)


class _Numbers:
    """The share of samples whose values differ little from the source's.

    A value's difference counts relative to the spread (largest - smallest) of that value over the source's samples; a
    sample agrees when the root of the mean square over its values is at most 0.05. A value that never changes has no
    spread: the largest of its output's spreads stands for it, else its output's largest magnitude.
    """

    def __init__(self, reader: Reader, source: Sequence[Tensor]) -> None:
        self._reader = reader
        self._spreads = np.concatenate([spreads_of(output) for output in source])
        self._same = self._samples = 0

    def add(self, source: Sequence[Real], converted: Sequence[Real]) -> Verdict:
        one, two = self._numbers(source), self._numbers(converted)
        error = value_error(one, two, self._spreads)
        self._samples += 1
        self._same += error <= SAME_VALUE
        return Verdict(self._words(one), self._words(two), error)

    @property
    def agreement(self) -> float:
        return self._same / self._samples

    def _numbers(self, outputs: Sequence[Real]) -> Real:
        found = self._reader.found(outputs)
        if not isinstance(found, Values):
            raise TypeError(f"expected values, got {type(found).__name__}")
        return found.numbers.astype(np.float64)

    def _words(self, numbers: Real) -> str:
        label_of = self._reader.spec.label_of
        more = len(numbers) - _TOLD
        told = _listed(f"{label_of(index)} {value:.4g}" for index, value in enumerate(numbers[:_TOLD].tolist()))
        return told + (f" and {more} more" if more > 0 else "")


def value_error(source: Real, converted: Real, spreads: Real) -> float:
    """Return the root of the mean square difference of values (n,), each relative to its spread."""
    return float(np.sqrt(np.mean(((converted - source) / spreads) ** 2)))


def spreads_of(output: Tensor) -> Real:
    """Return by what a difference of each value is divided: (values,), above 0."""
    flat = output.reshape(len(output), -1)
    spreads = (flat.max(axis=0).astype(np.float64)) - flat.min(axis=0)
    largest = spreads.max() or float(np.abs(flat).max()) or 1.0
    return np.where(spreads > 0, spreads, largest)


def same_objects(one: Candidates, two: Candidates) -> int:
    """Count objects that both models found, each matched once, the surest first."""
    if one.boxes is None or two.boxes is None:
        return 0
    free = np.ones(len(two.classes), bool)
    same = 0
    for index, box in zip(one.classes, one.boxes, strict=True):
        overlaps = np.where(free & (two.classes == index), iou(box, two.boxes), 0.0)
        if len(overlaps) and overlaps.max() >= _SAME_BOX_IOU:
            free[int(overlaps.argmax())] = False
            same += 1
    return same


def seen_points(found: Candidates) -> int:
    """Count the points that are seen, over all poses."""
    return 0 if found.points is None else int(np.count_nonzero(found.points[..., 2] >= SEEN))


def same_points(one: Candidates, two: Candidates) -> int:
    """Count points that both models see in the same place.

    The same is nearer than 0.1 of the longer side of the first model's box: PCK (Yang and Ramanan 2013, section 8.1,
    with their alpha of 0.1). Each pose is matched once, the surest first, with the one that shares most points.
    """
    if one.points is None or two.points is None or one.boxes is None:
        return 0
    free = np.ones(len(two.points), bool)
    same = 0
    for box, pose in zip(one.boxes, one.points, strict=True):
        reach = _SAME_POINT * max(float(box[2] - box[0]), float(box[3] - box[1]))
        apart = np.linalg.norm(two.points[..., :2] - pose[:, :2], axis=-1)
        both = (two.points[..., 2] >= SEEN) & (pose[:, 2] >= SEEN)
        shared = np.where(free, np.count_nonzero(both & (apart <= reach), axis=1), 0)
        if len(shared) and shared.max():
            free[int(shared.argmax())] = False
            same += int(shared.max())
    return same


def best_class(scores: Real) -> int:
    """The best class; a single score counts by whether it is above one half."""
    flat = scores.reshape(-1)
    return int(flat[0] > 0.5) if flat.size == 1 else int(flat.argmax())


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "nothing"
