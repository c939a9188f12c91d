"""Two models side by side: agreement and accuracy on pictures, size, latency, operators and pieces."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from converters.datasets import LABELS_FILE, Dataset, class_indices, read_dataset, require_kind
from converters.jobs import CountPartitions, TimeModels, Timings
from converters.parity.agreement import Real, judge_of
from converters.partitions import Partitions
from converters.process import open_worker
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import Events, Notice, Progress, Step
from device_runtime.contract.model import ModelSpec
from device_runtime.engine.values import real
from device_runtime.errors import BadFileError, UsageError
from device_runtime.predictor import Predictor
from device_runtime.vision.picture import list_pictures, read_picture
from edgekit.evaluating.evaluate import evaluate

_DIFFERENCES = 5
_NAMING = ("classification", "detection", "pose")
"""Tasks whose answers are names with scores."""

_SCORE = re.compile(r" \d\.\d\d")


@dataclass(frozen=True)
class Side:
    """One of the two: the file, what it is, and the engine that runs it."""

    model: Path
    spec: ModelSpec
    engine: str = "auto"
    threads: int = 1


@dataclass(frozen=True)
class OperatorPair:
    """How often an operator occurs in a version in each model."""

    name: str
    version: int
    counts: tuple[int, int]


@dataclass(frozen=True)
class SideFacts:
    """What was found of one model. ``metrics`` are those of ``Evaluation``, empty without labelled pictures."""

    model: str
    name: str
    recipe: str
    size_bytes: int
    latency_ms: float
    partitions: Partitions
    metrics: dict[str, float]


@dataclass(frozen=True)
class Difference:
    """A picture of which the models say something else."""

    picture: str
    one_says: str
    two_says: str


@dataclass(frozen=True)
class Comparison:
    """Two models side by side.

    ``agreement`` (0–1, see ``ParityReport``) is None without pictures, or where the models' answers cannot be held
    against each other; ``remark`` says why then. ``differences`` are some pictures on which they disagree.
    """

    sides: tuple[SideFacts, SideFacts]
    operators: tuple[OperatorPair, ...]
    pictures: int
    agreement: float | None
    differences: tuple[Difference, ...]
    remark: str = ""


def compare_models(one: Side, two: Side, pictures: Path | None, events: Events) -> Comparison:
    """Compare two models.

    Args:
        one: the first, the one that is trusted as a rule.
        two: the second.
        pictures: a data set as ``read_dataset`` has it, or any folder of pictures; None for none.
        events: hears of progress.

    Raises:
        ModelError: a model cannot be run, or takes no pictures and some are given.
        BadFileError: no picture can be read.
        UnfitError: the engine is not installed.
    """
    infos = [read_tflite(side.model) for side in (one, two)]
    answers, metrics = _Answers(), [dict[str, float](), dict[str, float]()]
    if pictures is not None:
        dataset = _dataset(pictures)
        if dataset is not None and _fits(dataset, (one, two), events):
            metrics = [_metrics(side, dataset, events) for side in (one, two)]
        paths = [picture.path for picture in dataset.pictures] if dataset else list_pictures(pictures)
        answers = _answers(one, two, paths, events)
    latencies, partitions = _measured((one, two), events)
    sides = [
        SideFacts(str(side.model), side.spec.name, _recipe(side.spec), info.size_bytes, latency, pieces, scores)
        for side, info, latency, pieces, scores in zip((one, two), infos, latencies, partitions, metrics, strict=True)
    ]
    first, second = (info.operator_counts for info in infos)
    operators = tuple(OperatorPair(*key, (first.get(key, 0), second.get(key, 0))) for key in sorted({*first, *second}))
    return Comparison(
        (sides[0], sides[1]), operators, answers.pictures, answers.agreement, answers.differences, answers.remark
    )


@dataclass(frozen=True)
class _Answers:
    """What both models said of the pictures; see ``Comparison``."""

    pictures: int = 0
    agreement: float | None = None
    differences: tuple[Difference, ...] = ()
    remark: str = ""


def _recipe(spec: ModelSpec) -> str:
    return spec.provenance.recipe if spec.provenance else ""


def _metrics(side: Side, dataset: Dataset, events: Events) -> dict[str, float]:
    return evaluate(side.model, side.spec, dataset, events, side.engine, side.threads).metrics


def _dataset(pictures: Path) -> Dataset | None:
    """Return labelled pictures; None for a folder that has pictures in itself, and no table of labels."""
    bare = pictures.is_dir() and not (pictures / LABELS_FILE).is_file()
    if bare and any(path.parent == pictures for path in list_pictures(pictures)):
        return None
    return read_dataset(pictures)


def _fits(dataset: Dataset, sides: Sequence[Side], events: Events) -> bool:
    """Tell whether a data set's labels are those of both models; agreement needs none."""
    try:
        for side in sides:
            require_kind(dataset, side.spec.task)
            shapes = [tensor.shape for tensor in side.spec.outputs]
            class_indices(dataset, side.spec.task, side.spec.labels, shapes)
    except UsageError as error:
        events(Notice(f"no accuracy, agreement only: {error}", "warning"))
        return False
    return True


def _incomparable(one: ModelSpec, two: ModelSpec) -> str:
    """Return why the models' answers cannot be held against each other, empty when they can."""
    if (one.task.name, one.task.decoder) != (two.task.name, two.task.decoder):
        return f"one is for {one.task.name} ({one.task.decoder}), the other for {two.task.name} ({two.task.decoder})"
    shapes = [[list(tensor.shape) for tensor in spec.outputs] for spec in (one, two)]
    if shapes[0] != shapes[1]:
        return f"one has outputs {shapes[0]}, the other {shapes[1]}"
    if one.labels != two.labels or one.task.label_offset != two.task.label_offset:
        return "their labels differ"
    if one.task.name in ("detection", "pose", "segmentation") and one.image_prep.resize is not two.image_prep.resize:
        return f"one takes pictures by {one.image_prep.resize.value}, the other by {two.image_prep.resize.value}"
    return ""


def _answers(one: Side, two: Side, paths: Sequence[Path], events: Events) -> _Answers:
    remark = _incomparable(one.spec, two.spec)
    if remark:
        return _Answers(remark=remark)
    events(Step(f"compare the answers to {len(paths)} pictures"))
    predictors = [Predictor(side.model, side.spec, side.engine, side.threads) for side in (one, two)]
    rows = _rows(predictors, paths, events)
    if one.spec.task.name == "regression":
        # How far two numbers may differ depends on how much they vary over all pictures.
        kept = list(rows)
        outputs = [np.stack([row[0][index] for _, row in kept]) for index in range(len(one.spec.outputs))]
        judge, rows = judge_of(one.spec, outputs), iter(kept)
    else:
        judge = judge_of(one.spec, ())
    differences: list[Difference] = []
    count = 0
    for name, (first, second) in rows:
        verdict = judge.add(first, second)
        count += 1
        other = one.spec.task.name in _NAMING and _names(verdict.source_says) != _names(verdict.converted_says)
        if other and len(differences) < _DIFFERENCES:
            differences.append(Difference(name, verdict.source_says, verdict.converted_says))
    return _Answers(count, judge.agreement, tuple(differences))


def _names(said: str) -> str:
    """Return what was said without the scores, which hardly ever are the same."""
    return _SCORE.sub("", said)


def _rows(
    predictors: Sequence[Predictor], paths: Sequence[Path], events: Events
) -> Iterator[tuple[str, tuple[list[Real], list[Real]]]]:
    """Yield the name of each picture that can be read, and what both models make of it: real values, no batch."""
    read = 0
    for number, path in enumerate(paths, start=1):
        try:
            frame = read_picture(path)
        except BadFileError as error:
            events(Notice(f"skipped: {error}", "warning"))
            continue
        read += 1
        one, two = (
            [
                real(output, tensor)[0].astype(np.float64)
                for output, tensor in zip(predictor.answer(frame).outputs, predictor.engine.outputs, strict=True)
            ]
            for predictor in predictors
        )
        yield path.name, (one, two)
        events(Progress(number, len(paths), "pictures"))
    if not read:
        raise BadFileError(f"none of the {len(paths)} pictures can be read", hint="give a folder of pictures")


def _measured(sides: Sequence[Side], events: Events) -> tuple[list[float], list[Partitions]]:
    """Return the median latency and the pieces of both; they run in turns, so that both meet the same machine."""
    engine, threads = sides[0].engine, sides[0].threads
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder, open_worker(Path(folder), events) as worker:
        events(Step("time both models in turns"))
        job = TimeModels(tuple(str(side.model) for side in sides), engine, threads)
        timings = worker.call(job, Timings, "time the models")
        partitions = [
            worker.call(CountPartitions(str(side.model), engine), Partitions, "load the model") for side in sides
        ]
    return list(timings.p50_ms), partitions
