"""Puts two benchmark runs side by side: what became slower, what the runs cannot show, and what else differs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from device_runtime.bench.statistics import SAMPLES_FOR_INTERVAL, ratio_interval
from device_runtime.contract.bench import BenchReport, Interval, MachineState
from device_runtime.contract.decode import read_json
from device_runtime.contract.prediction import STAGES
from device_runtime.errors import BadFileError
from device_runtime.machine import busy, throttling
from edgekit.reporting.axes import memory, milliseconds

COMPARISON_SCHEMA = 1

JUDGED = (("total", "p50"), ("invoke", "p50"))
"""The figures that decide what is said of the whole: each one more would be one more chance of a false alarm."""

BETWEEN_RUNS = 0.03
"""By how much the median of one process may differ from the next one's that does the same.

Where memory lies, and what ran before, is settled once per process, so that no statistics of one run can see it
(Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, 2013; Mytkowicz et al., Producing Wrong Data, 2009).
"""

PERCENTILES = {"p50": 0.50, "p99": 0.99}

Word = Literal["slower", "faster", "same", "unknown"]
"""``same``: no difference that these runs can show. ``unknown``: they cannot be compared."""


@dataclass(frozen=True)
class Side:
    """One of the two runs, in words."""

    created: str
    model: str
    sha256: str
    engine: str
    machine: str
    frames: int
    target: str | None = None
    release: str | None = None
    disturbed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """What is not the same in both runs. ``spoils`` tells that latencies cannot be compared because of it."""

    what: str
    before: str
    after: str
    spoils: bool = False


@dataclass(frozen=True)
class Doubt:
    """Why ratios may not be quoted. A ``grave`` one no patience heals: another machine, or one that is emulated."""

    text: str
    grave: bool = False


@dataclass(frozen=True)
class Figure:
    """A percentile of one stage in both runs.

    ``ratio`` is ``after_ms / before_ms``, and ``interval`` where it lies with 95% confidence, the difference between
    two processes that do the same (``BETWEEN_RUNS``) included; None where ``word`` is ``unknown``, and ``why`` then
    says why.
    """

    stage: str
    percentile: str
    before_ms: float
    after_ms: float
    ratio: float
    word: Word
    interval: Interval | None = None
    why: str = ""


@dataclass(frozen=True)
class Fact:
    """A figure that each run has once, so that nothing can be said of its chance: ``unit`` is ms, fps or bytes."""

    name: str
    unit: str
    before: float
    after: float

    @property
    def ratio(self) -> float | None:
        """``after / before``; None where before is 0."""
        return self.after / self.before if self.before else None

    def words(self, value: float) -> str:
        """Return one of the two values with its unit."""
        if self.unit == "bytes":
            return memory(int(value))
        return f"{value:.1f} fps" if self.unit == "fps" else f"{milliseconds(value)} ms"


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side. ``word`` is about all of ``JUDGED``; ``mixed`` where they disagree.

    ``figures`` begin with those that are judged. ``differences`` is what is not the same in both runs.
    """

    before: Side
    after: Side
    word: Literal["slower", "faster", "same", "mixed", "unknown"]
    figures: tuple[Figure, ...]
    facts: tuple[Fact, ...]
    differences: tuple[Difference, ...]
    doubts: tuple[Doubt, ...]
    between_runs: float = BETWEEN_RUNS
    schema: int = COMPARISON_SCHEMA

    def figure(self, stage: str, percentile: str) -> Figure | None:
        """Return one of the figures; None where a run has it not."""
        wanted = (stage, percentile)
        return next((each for each in self.figures if (each.stage, each.percentile) == wanted), None)


def read_report(path: Path) -> BenchReport:
    """Read a saved run, of this version or an older one.

    Raises:
        BadFileError: it is no bench report, or has a newer form than this edgekit knows.
        EdgeError: it cannot be read.
    """
    report = read_json(BenchReport, path)
    missing = [stage for stage in ("total", "invoke") if stage not in report.stages]
    if missing:
        raise BadFileError(f"{path}: no stage {missing[0]} in it", hint="make it with: edgekit bench --save")
    return report


def disturbances(report: BenchReport) -> tuple[str, ...]:
    """Return why a run's figures are no result; of a report of version 1 by what the machine told then."""
    if report.schema == 1:
        crowded = ("others worked on the machine before the run",) if busy(report.before) else ()
        return (*(f"the machine was slowed down: {name}" for name in throttling(report.before, report.after)), *crowded)
    if not report.steady and not report.disturbed:
        return ("latencies had not settled when the warm-up ended",)
    return report.disturbed


def compare_runs(before: BenchReport, after: BenchReport) -> Comparison:
    """Compare two runs by the intervals of their ratios.

    A percentile is slower (or faster) where the whole interval of its ratio lies above (or below) 1.
    """
    differences = tuple(_differences(before, after))
    figures = tuple(_figures(before, after))
    return Comparison(
        _side(before),
        _side(after),
        _summary(figures),
        figures,
        tuple(_facts(before, after)),
        differences,
        tuple(_doubts(before, after, differences)),
    )


def widened(interval: Interval) -> Interval:
    """Return an interval that knows of one process only with the difference between two of them in it."""
    return Interval(interval.low / (1 + BETWEEN_RUNS), interval.high * (1 + BETWEEN_RUNS))


def describe_place(report: BenchReport) -> str:
    """Return where a run was: its machine, and the target that it was reached as."""
    machine = describe_machine(report.before)
    return f"{report.target} ({machine})" if report.target else machine


def describe_machine(state: MachineState) -> str:
    """Return what names a machine to people: its board, or its processor."""
    return state.board or state.cpu


def describe_engine(report: BenchReport) -> str:
    """Return an engine with its version and its threads."""
    engine = report.engine
    return f"{engine.name} {engine.version}, {engine.threads} thread{'s' if engine.threads != 1 else ''}"


def title_of(comparison: Comparison) -> str:
    """Say in a sentence what came of a comparison."""
    judged = [found for each in JUDGED if (found := comparison.figure(*each))]
    parts = [f"{each.stage} {each.percentile} {change(each)}" for each in judged]
    head = {
        "slower": "slower",
        "faster": "faster",
        "same": "no difference that these runs can show",
        "mixed": "slower in part, and faster in part",
        "unknown": "these runs cannot be compared",
    }[comparison.word]
    doubt = ", but in doubt" if comparison.doubts and comparison.word != "unknown" else ""
    return f"{head}{doubt}: {'; '.join(parts)}" if parts else head


def change(figure: Figure) -> str:
    """Return a ratio and its interval as changes in per cent: ``+10.2% (+8.1% to +12.0%)``."""
    if figure.interval is None:
        return figure.why
    return f"{signed(figure.ratio)} ({signed(figure.interval.low)} to {signed(figure.interval.high)})"


def signed(ratio: float) -> str:
    """Return a ratio as a change in per cent: 1.102 is ``+10.2%``."""
    text = f"{(ratio - 1) * 100:+.1f}%"
    return "±0.0%" if text in ("+0.0%", "-0.0%") else text.replace("-", "−")  # noqa: RUF001 - a minus as wide as a plus


def _figures(before: BenchReport, after: BenchReport) -> list[Figure]:
    judged = [stage for stage, _ in JUDGED]
    known = [*judged, *(stage for stage in STAGES if stage not in judged)]
    stages = [*known, *sorted((set(before.stages) | set(after.stages)) - set(known))]
    return [
        figure
        for stage in stages
        if stage in before.stages and stage in after.stages
        for percentile in PERCENTILES
        if (figure := _figure(before, after, stage, percentile))
    ]


def _figure(before: BenchReport, after: BenchReport, stage: str, percentile: str) -> Figure | None:
    """Return one figure; None for a percentile that one of the runs is too short for."""
    values = [getattr(run.stages[stage], percentile) for run in (before, after)]
    if None in values:
        return None
    one, two = (float(value) for value in values)
    ratio = two / one if one > 0 else float(two > 0) + 1.0
    why = _why_not(before, after, stage) or ("" if one > 0 and two > 0 else "it takes no time that can be measured")
    if why:
        return Figure(stage, percentile, one, two, ratio, "unknown", why=why)
    samples = [np.asarray(run.samples_ms[stage], np.float64) for run in (before, after)]
    within = ratio_interval(samples[0], samples[1], PERCENTILES[percentile])
    interval = widened(within)
    word: Word = "slower" if interval.low > 1 else "faster" if interval.high < 1 else "same"
    return Figure(stage, percentile, one, two, ratio, word, interval)


def _why_not(before: BenchReport, after: BenchReport, stage: str) -> str:
    fewest = min(len(run.samples_ms.get(stage, ())) for run in (before, after))
    if fewest < SAMPLES_FOR_INTERVAL:
        return f"a comparison takes {SAMPLES_FOR_INTERVAL} frames of each run, and one has {fewest}"
    if before.source != after.source and stage != "invoke":
        return "the runs had different sources of frames"
    return ""


def _summary(figures: tuple[Figure, ...]) -> Literal["slower", "faster", "same", "mixed", "unknown"]:
    words = {figure.word for figure in figures if (figure.stage, figure.percentile) in JUDGED} - {"unknown"}
    if not words:
        return "unknown"
    if {"slower", "faster"} <= words:
        return "mixed"
    return "slower" if "slower" in words else "faster" if "faster" in words else "same"


def _facts(before: BenchReport, after: BenchReport) -> list[Fact]:
    def cold(run: BenchReport) -> float | None:
        times = run.cold_start.first_prediction_ms if run.cold_start else ()
        return float(np.median(times)) if times else None

    pairs: list[tuple[str, str, float | None, float | None]] = [
        ("throughput", "fps", before.fps, after.fps),
        ("peak memory", "bytes", before.peak_rss_bytes, after.peak_rss_bytes),
        ("the model's share of memory", "bytes", before.model_rss_bytes, after.model_rss_bytes),
        ("model file", "bytes", before.model.size_bytes, after.model.size_bytes),
        ("loading the model", "ms", before.load_ms, after.load_ms),
        ("first inference", "ms", before.first_inference_ms, after.first_inference_ms),
        ("cold start, median", "ms", cold(before), cold(after)),
    ]
    return [Fact(name, unit, one, two) for name, unit, one, two in pairs if one is not None and two is not None]


def _differences(before: BenchReport, after: BenchReport) -> list[Difference]:
    def machine(run: BenchReport) -> str:
        state = run.before
        where = f", emulated by {state.emulated}" if state.emulated else ""
        return f"{describe_machine(state)}, {state.cores} cores, {state.machine}{where}"

    def rate(run: BenchReport) -> str:
        return f"{run.at_rate.camera_fps:g} fps" if run.at_rate else "none"

    pairs = [
        ("machine", machine(before), machine(after)),
        ("target", before.target or "this machine", after.target or "this machine"),
        ("model", before.model.name, after.model.name),
        ("model's digest", before.model.sha256, after.model.sha256),
        ("model's input", before.model.input, after.model.input),
        ("engine", before.engine.name, after.engine.name),
        ("engine's version", before.engine.version, after.engine.version),
        ("threads", str(before.engine.threads), str(after.engine.threads)),
        ("delegate", before.engine.delegate, after.engine.delegate),
        ("source", before.source, after.source),
        ("camera's rate", rate(before), rate(after)),
        ("release", before.release or "none", after.release or "none"),
        ("application beside", before.beside or "none", after.beside or "none"),
        ("governor", before.before.governor or "not told", after.before.governor or "not told"),
        ("kernel", before.before.kernel, after.before.kernel),
        ("Python", before.before.python, after.before.python),
        ("disturbed", "; ".join(disturbances(before)) or "no", "; ".join(disturbances(after)) or "no"),
        ("warmed up until steady", "yes" if before.steady else "no", "yes" if after.steady else "no"),
    ]
    return [Difference(what, one, two, spoils=what == "machine") for what, one, two in pairs if one != two]


def _doubts(before: BenchReport, after: BenchReport, differences: tuple[Difference, ...]) -> list[Doubt]:
    found = [
        Doubt(f"they are from different machines: {each.before}, then {each.after}", grave=True)
        for each in differences
        if each.spoils
    ]
    for which, run in (("first", before), ("second", after)):
        if run.before.emulated:
            why = f"the {which} run was on a machine emulated by {run.before.emulated}: its times mean nothing"
            found.append(Doubt(why, grave=True))
        if reasons := disturbances(run):
            found.append(Doubt(f"the {which} run was disturbed: {'; '.join(reasons)}"))
    return found


def _side(report: BenchReport) -> Side:
    return Side(
        report.created,
        report.model.name,
        report.model.sha256,
        describe_engine(report),
        describe_machine(report.before),
        report.frames,
        report.target,
        report.release,
        disturbances(report),
    )
