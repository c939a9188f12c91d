"""A model on a labelled data set, through the very code that the board runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.datasets import Dataset, LabelledPicture, class_indices, require_kind, true_mask
from converters.interface import Interval
from converters.parity.metrics import (
    DetectedPicture,
    Integers,
    claim,
    mean_average_precision,
    mean_iou,
    overlap,
    per_class_accuracy,
    precision_of,
    top_k_accuracy,
    uncut,
)
from converters.statistics import bootstrapped, proportion
from device_runtime.contract.decode import IN_MEMORY
from device_runtime.contract.events import Events, Notice, Progress, Step
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import BadFileError
from device_runtime.predictor import Answer, Predictor
from device_runtime.tasks.interface import Candidates, ClassMap, Values
from device_runtime.vision.frame import Frame
from device_runtime.vision.picture import read_picture
from device_runtime.vision.placement import no_class

TOP_K = 5


@dataclass(frozen=True)
class ClassResult:
    """How well one class is recognised: ``value`` is accuracy (0–1), AP at IoU 0.5, or IoU; None without samples.

    For a regression it is a number's mean absolute error, in its own unit.
    """

    label: str
    samples: int
    value: float | None


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over a data set.

    ``metrics`` has ``top1`` and ``top5``, ``map50`` for a detector, ``miou`` for a segmenter (each 0–1), or ``mae``,
    the mean absolute error of a regressor. ``samples`` of a class are the pictures it is in, or its objects.
    ``skipped`` are pictures that could not be read. ``figure`` computes the first metric over some of the pictures
    (positions, maybe repeated) where it is not a share of them.
    """

    task: str
    pictures: int
    metrics: dict[str, float]
    per_class: tuple[ClassResult, ...]
    skipped: tuple[str, ...] = ()
    figure: Callable[[Integers], float] | None = field(
        default=None, compare=False, repr=False, metadata={IN_MEMORY: True}
    )

    def interval(self, seed: int = 0) -> Interval:
        """Return the first metric with its 95% interval: Wilson's for a share of pictures, else by a bootstrap."""
        value = next(iter(self.metrics.values()))
        if self.figure is None:
            return proportion(round(value * self.pictures), self.pictures)
        return bootstrapped(self.figure, self.pictures, seed)


def evaluate(
    model: Path, spec: ModelSpec, dataset: Dataset, events: Events, engine: str = "auto", threads: int = 1
) -> Evaluation:
    """Run ``model`` on every picture of ``dataset``.

    Raises:
        UsageError: the data set's labels are not the model's, or of another kind than the task needs.
        BadFileError: no picture can be read.
        ModelError: the model cannot be run.
    """
    require_kind(dataset, spec.task)
    indices = class_indices(dataset, spec.task, spec.labels, [tensor.shape for tensor in spec.outputs])
    events(Step(f"evaluate {len(dataset.pictures)} pictures"))
    run = _Run(dataset, events)
    if spec.task.name == "segmentation":
        return _evaluate_segmenter(Predictor(model, spec, engine, threads), run)
    if spec.task.name == "regression":
        return _evaluate_regressor(Predictor(model, spec, engine, threads), run)
    if spec.task.name == "detection":
        return _evaluate_detector(model, spec, indices, run, engine, threads)
    return _evaluate_classifier(model, spec, indices, run, engine, threads)


class _Run:
    """Reads the pictures one after another; what cannot be read is named, skipped and counted."""

    def __init__(self, dataset: Dataset, events: Events) -> None:
        self._dataset = dataset
        self._events = events
        self.skipped: list[str] = []
        self.done = 0

    def each(self, work: Callable[[Frame, LabelledPicture], None]) -> None:
        for number, picture in enumerate(self._dataset.pictures, start=1):
            try:
                frame = read_picture(picture.path)
            except BadFileError as error:
                self._events(Notice(f"skipped: {error}", "warning"))
                self.skipped.append(str(picture.path))
                continue
            work(frame, picture)
            self.done += 1
            self._events(Progress(number, len(self._dataset.pictures), "pictures"))
        if not self.done:
            raise BadFileError(f"{self._dataset.path}: none of its {len(self.skipped)} pictures can be read")


def _evaluate_classifier(
    model: Path, spec: ModelSpec, indices: Mapping[str, int], run: _Run, engine: str, threads: int
) -> Evaluation:
    classes = spec.outputs[0].shape[-1]
    # All classes, so that the rank of the true one is known.
    whole = dataclasses.replace(spec, task=dataclasses.replace(spec.task, score_threshold=0.0, max_items=classes))
    predictor = Predictor(model, whole, engine, threads)
    rows: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    truths: list[int] = []

    def work(frame: Frame, picture: LabelledPicture) -> None:
        found = _candidates(predictor.answer(frame))
        row = np.zeros(classes, np.float32)
        row[found.classes] = found.scores
        rows.append(row)
        truths.append(indices[picture.label])

    run.each(work)
    scores, truth = np.stack(rows), np.array(truths, np.int64)
    shares = per_class_accuracy(scores, truth, classes)
    counts = np.bincount(truth, minlength=classes)
    metrics = {"top1": top_k_accuracy(scores, truth)}
    if classes > TOP_K:
        metrics["top5"] = top_k_accuracy(scores, truth, TOP_K)
    per_class = tuple(
        ClassResult(spec.label_of(index), int(counts[index]), shares[index])
        for index in range(classes)
        if counts[index]
    )
    return Evaluation("classification", run.done, metrics, per_class, tuple(run.skipped))


def _evaluate_detector(
    model: Path, spec: ModelSpec, indices: Mapping[str, int], run: _Run, engine: str, threads: int
) -> Evaluation:
    task = uncut(spec.task)
    predictor = Predictor(model, dataclasses.replace(spec, task=task), engine, threads)
    pictures: list[DetectedPicture] = []

    def work(frame: Frame, picture: LabelledPicture) -> None:
        answer = predictor.answer(frame)
        found = _candidates(answer)
        boxes = found.boxes if found.boxes is not None else np.zeros((0, 4), np.float32)
        pictures.append(
            DetectedPicture(
                answer.placement.boxes_to_frame(boxes, spec.image_prep),
                found.scores,
                found.classes,
                np.array([box for _, box in picture.objects], np.float32).reshape(-1, 4),
                np.array([indices[label] for label, _ in picture.objects], np.int64),
            )
        )

    run.each(work)
    classes = _class_count(spec, pictures)
    try:
        result = mean_average_precision(pictures, classes)
    except ValueError as error:
        raise BadFileError(f"cannot compute the mean average precision: {error}") from error
    claimed = [claim(picture, classes) for picture in pictures]

    def figure(rows: Integers) -> float:
        drawn = [claimed[row] for row in rows]
        # Some of the pictures may be without any object, and say nothing then.
        return precision_of(drawn).mean if any(picture.truths.any() for picture in drawn) else 0.0

    per_class = tuple(
        ClassResult(spec.label_of(index), count, result.per_class[index])
        for index, count in enumerate(result.truths)
        if count
    )
    return Evaluation("detection", run.done, {"map50": result.mean}, per_class, tuple(run.skipped), figure)


def _evaluate_segmenter(predictor: Predictor, run: _Run) -> Evaluation:
    spec = predictor.spec
    counts: list[Integers] = []

    def work(frame: Frame, picture: LabelledPicture) -> None:
        truth = true_mask(picture, frame.width, frame.height)
        answer = predictor.answer(frame)
        if not isinstance(answer.found, ClassMap):
            raise TypeError(f"expected a class map, got {type(answer.found).__name__}")
        found = answer.placement.mask_to_frame(answer.found.ids, spec.image_prep)
        # Nothing is said of what the model did not see, and of what nobody labelled.
        judged = (found != no_class(found)) & (truth != no_class(truth))
        found, truth = found[judged], truth[judged]
        known = spec.task.label_count([tensor.shape for tensor in spec.outputs])
        highest = int(truth.max(initial=0))
        if known is not None and highest >= known:
            raise BadFileError(f"{picture.mask}: expected class ids 0–{known - 1} of {spec.name}, got {highest}")
        counts.append(overlap(truth, found, max(highest, int(found.max(initial=0))) + 1, ignore=None))

    run.each(work)
    classes = max(each.shape[1] for each in counts)
    padded = np.stack([np.pad(each, ((0, 0), (0, classes - each.shape[1]))) for each in counts])
    try:
        result = mean_iou(padded.sum(axis=0))
    except ValueError as error:
        raise BadFileError(f"cannot compute the mean IoU: {error}") from error
    per_class = tuple(
        ClassResult(spec.label_of(index), int(np.count_nonzero(padded[:, 1, index])), share)
        for index, share in enumerate(result.per_class)
        if share is not None
    )
    return Evaluation(
        "segmentation",
        run.done,
        {"miou": result.mean},
        per_class,
        tuple(run.skipped),
        lambda rows: mean_iou(padded[rows].sum(axis=0)).mean,
    )


def _evaluate_regressor(predictor: Predictor, run: _Run) -> Evaluation:
    spec = predictor.spec
    errors: list[npt.NDArray[np.float64]] = []

    def work(frame: Frame, picture: LabelledPicture) -> None:
        found = predictor.answer(frame).found
        if not isinstance(found, Values):
            raise TypeError(f"expected values, got {type(found).__name__}")
        if len(found.numbers) != len(picture.values):
            raise BadFileError(
                f"{picture.path}: expected {len(found.numbers)} values as {spec.name} gives, got {len(picture.values)}",
                hint=f"write a labels.csv with the header file{',value' * len(found.numbers)}",
            )
        errors.append(np.abs(found.numbers.astype(np.float64) - np.array(picture.values)))

    run.each(work)
    stacked = np.stack(errors)
    means = stacked.mean(axis=0)
    per_value = tuple(
        ClassResult(spec.label_of(index), run.done, float(mean)) for index, mean in enumerate(means.tolist())
    )
    return Evaluation(
        "regression",
        run.done,
        {"mae": float(means.mean())},
        per_value,
        tuple(run.skipped),
        lambda rows: float(stacked[rows].mean()),
    )


def _candidates(answer: Answer) -> Candidates:
    if not isinstance(answer.found, Candidates):
        raise TypeError(f"expected candidates, got {type(answer.found).__name__}")
    return answer.found


def _class_count(spec: ModelSpec, pictures: list[DetectedPicture]) -> int:
    known = spec.task.label_count([tensor.shape for tensor in spec.outputs])
    if known is not None:
        return known - spec.task.label_offset
    highest = [int(each.max()) for picture in pictures for each in (picture.classes, picture.true_classes) if len(each)]
    return max([len(spec.labels) - 1, *highest]) + 1
