"""What a sweep measured and recommends: the JSON of ``bench --sweep --json``, version 1."""

from __future__ import annotations

from dataclasses import dataclass

from device_runtime.contract.bench import BenchReport, Interval, ModelFacts
from device_runtime.contract.reported import ReportedError

SWEEP_SCHEMA = 1

AXES = ("recipe", "size", "engine", "delegate", "threads")
"""What may be varied; in this order a point is named."""

PERCENTILES = ("p50", "p95")

LOWER_IS_BETTER = ("mae",)
"""Of the metrics of ``edgekit.evaluating.evaluate``; all others are shares (0–1), and higher is better."""


@dataclass(frozen=True)
class Setting:
    """One way to run the model.

    An empty ``recipe`` is the model as it was given, and ``input_size`` (height, width in px) None its own size.
    """

    recipe: str = ""
    input_size: tuple[int, int] | None = None
    engine: str = "auto"
    delegate: str = "auto"
    threads: int = 1

    def word(self, axis: str) -> str:
        """Return the value on one of ``AXES`` as the command line has it, empty where nothing was said."""
        if axis == "size":
            return "x".join(str(side) for side in self.input_size or ())
        return str(getattr(self, axis))


@dataclass(frozen=True)
class Axis:
    """What was varied, and its values as the command line has them."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Accuracy:
    """A figure of ``edgekit evaluate`` on ``pictures``; ``interval`` is None where its noise is not known."""

    metric: str
    value: float
    pictures: int
    interval: Interval | None = None

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better: it is an error otherwise, in the unit of the values."""
        return self.metric not in LOWER_IS_BETTER


@dataclass(frozen=True)
class PointLatency:
    """Latency of a point in ms: the geometric means of its rounds' percentiles, ``frames`` in all of its ``rounds``.

    An interval says how far the rounds, each a process of its own, agree: it is None where that is not known. A
    percentile that a round has too few frames for is None.
    """

    p50: float
    p95: float | None
    p50_interval: Interval | None
    p95_interval: Interval | None
    frames: int
    rounds: int


@dataclass(frozen=True)
class SweepPoint:
    """One row of a sweep. ``number`` counts from 1, in the order of the axes' values.

    ``runs`` are its rounds without their single samples and moments. A point that could not be measured has
    ``error`` and no ``latency``; one with both failed later, and has the rounds before. ``disturbed`` are the
    reasons why its figures are no result. ``dominated_by`` are the numbers of points that are at least as good in
    everything, and in something better beyond the noise; ``on_front`` says that it was compared, and there is none.
    """

    number: int
    setting: Setting
    model: ModelFacts | None = None
    latency: PointLatency | None = None
    accuracy: Accuracy | None = None
    runs: tuple[BenchReport, ...] = ()
    error: ReportedError | None = None
    disturbed: tuple[str, ...] = ()
    dominated_by: tuple[int, ...] = ()
    on_front: bool = False


@dataclass(frozen=True)
class Recommendation:
    """The point to take, and why, in one sentence."""

    point: int
    reason: str


@dataclass(frozen=True)
class SweepReport:
    """A whole sweep.

    Latencies are of ``stage``: ``work`` is what a frame costs the machine, prepare, invoke and decode together, without
    capturing it and without its waiting. ``percentile`` is the one that points were judged by, ``max_drop`` how many
    points (0.01) of accuracy the recommended one may be below the best. ``dataset`` is what accuracy was measured
    on; None: there was none. ``complete`` is false when it was stopped: rounds, or whole points, are missing then.
    """

    created: str
    model: str
    source: str
    axes: tuple[Axis, ...]
    points: tuple[SweepPoint, ...]
    rounds: int
    duration_s: float
    seed: int
    percentile: str = "p50"
    stage: str = "work"
    max_drop: float = 1.0
    dataset: str | None = None
    recommended: Recommendation | None = None
    warnings: tuple[str, ...] = ()
    complete: bool = True
    target: str | None = None
    schema: int = SWEEP_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > SWEEP_SCHEMA:
            raise ValueError(f"schema: this reader knows up to {SWEEP_SCHEMA}, got {self.schema}; update edgekit")
        if self.percentile not in PERCENTILES:
            raise ValueError(f"percentile: expected {' or '.join(PERCENTILES)}, got {self.percentile}")

    def point(self, number: int) -> SweepPoint:
        """Return the point with this number. Raises KeyError when there is none."""
        for each in self.points:
            if each.number == number:
                return each
        raise KeyError(number)

    def label(self, point: SweepPoint) -> str:
        """Return what is special about a point: its values on the axes that vary, as in ``static-int8, 2 threads``."""
        varying = [axis.name for axis in self.axes if len(axis.values) > 1] or [axis.name for axis in self.axes]
        return named(point.setting, varying)


def named(setting: Setting, axes: list[str]) -> str:
    """Return a setting's values on these axes for people."""
    words = []
    for axis in AXES:
        word = setting.word(axis)
        if axis not in axes or not word:
            continue
        if axis == "threads":
            word = f"{word} thread{'' if word == '1' else 's'}"
        elif axis == "delegate":
            word = {"none": "without delegate"}.get(word, word)
        words.append(word)
    return ", ".join(words) or "as it is"
