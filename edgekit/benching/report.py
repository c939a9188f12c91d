"""The HTML report of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from device_runtime.bench.statistics import NEEDED_SAMPLES
from device_runtime.contract.bench import CONFIDENCE, AtRate, BenchReport, LatencyStats
from device_runtime.contract.prediction import STAGES
from edgekit.benching.cards import NOT_TOLD, Throttle, cards_of, interval_in_words, machine_of, moment_of, throttle_of
from edgekit.benching.compare import Comparison, describe_engine, describe_place
from edgekit.benching.comparison_view import ComparisonView, changes_of, comparison_view
from edgekit.benching.comparison_view import method_of as comparing
from edgekit.benching.figures import Bar, Histogram, StageBar, bars, histogram, stage_bars
from edgekit.benching.gates import Gate
from edgekit.benching.method import STAGE_MEANINGS, method_of
from edgekit.benching.operators import Operators, operators_of
from edgekit.benching.timeline import DRAWN, Timeline, timeline
from edgekit.benching.verdict import flag_of, judge
from edgekit.reporting.axes import UNKNOWN, memory, milliseconds
from edgekit.reporting.page import Card, Headline, Verdict, listed, render_page

LIVE_SCHEMES = ("v4l2", "camera")
"""Sources whose frames come by themselves: of these the newest one counts, and waiting is short."""

_WORTH_SAYING = 0.1

_TEMPLATES = Path(__file__).parent / "templates"
_KEEPS_UP = 0.98
"""A model keeps up with a camera when it answers this share of its frames: clocks and the last frame cost some."""


@dataclass(frozen=True)
class Row:
    """A line of the stage table, as texts in ms; a percentile that the run is too short for is "–".

    Intervals are empty where they are not known.
    """

    stage: str
    mean: str
    p50: str
    p50_interval: str
    p90: str
    p95: str
    p99: str
    p99_interval: str
    min: str
    max: str


@dataclass(frozen=True)
class CameraView:
    """What a camera of a fixed rate gets, in words."""

    title: str
    sentence: str
    bars: tuple[Bar, ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class View:
    """Everything that the page shows, in its words."""

    title: str
    subtitle: tuple[str, ...]
    verdict: Verdict
    flag: str
    warnings: tuple[str, ...]
    headlines: tuple[Headline, ...]
    rows: tuple[Row, ...]
    intervals: bool
    missing: str
    waiting: str
    bars: tuple[StageBar, ...]
    histograms: tuple[tuple[str, Histogram], ...]
    timeline: Timeline | None
    operators: Operators | None
    camera: CameraView | None
    gates: tuple[Gate, ...]
    comparison: ComparisonView | None
    compared: str
    starts: tuple[Bar, ...]
    memory: tuple[Bar, ...]
    machine: Card
    throttle: Throttle | None
    cards: tuple[Card, ...]
    method: tuple[tuple[str, str], ...]
    meanings: tuple[tuple[str, str], ...]


def render(report: BenchReport, comparison: Comparison | None = None, gates: Sequence[Gate] = ()) -> str:
    """Return the whole page as HTML. Whatever the report says is shown as text, never as markup.

    Args:
        report: the run.
        comparison: of an earlier run with this one.
        gates: what came of the gates that were asked for.
    """
    return render_page(_TEMPLATES, "bench.html.j2", view=view_of(report, comparison, gates), not_told=NOT_TOLD)


def view_of(report: BenchReport, comparison: Comparison | None = None, gates: Sequence[Gate] = ()) -> View:
    """Return what the page shows of a report."""
    drawn = {stage: report.samples_ms[stage] for stage in DRAWN if report.samples_ms.get(stage)}
    stages = _in_order(report)
    rows = stage_rows(report)
    return View(
        title=report.model.name,
        subtitle=(
            describe_place(report),
            describe_engine(report),
            moment_of(report.created),
        ),
        verdict=judge(report),
        flag=flag_of(report),
        warnings=(*report.warnings, *(reason for reason in report.disturbed if reason not in report.warnings)),
        headlines=_headlines(report, comparison),
        rows=rows,
        intervals=any(row.p50_interval or row.p99_interval for row in rows),
        missing=missing_percentiles(report),
        waiting=waiting(report),
        bars=stage_bars(stages),
        histograms=tuple((stage, histogram(stage, values, report.stages[stage])) for stage, values in drawn.items()),
        timeline=timeline(report),
        operators=operators_of(report.operators),
        camera=None if report.at_rate is None else _camera(report.at_rate),
        gates=tuple(gates),
        comparison=comparison_view(comparison) if comparison else None,
        compared=moment_of(comparison.before.created) if comparison else "",
        starts=_starts(report),
        memory=_memory(report),
        machine=machine_of(report),
        throttle=throttle_of(report),
        cards=cards_of(report),
        method=(*method_of(report), *(comparing(comparison) if comparison else ())),
        meanings=tuple((stage, STAGE_MEANINGS.get(stage, "")) for stage in stages),
    )


def stage_rows(report: BenchReport) -> tuple[Row, ...]:
    """Return the stage table, in ms."""
    return tuple(
        Row(
            name,
            _known(stats.mean),
            _known(stats.p50),
            interval_in_words(stats.p50_interval),
            _known(stats.p90),
            _known(stats.p95),
            _known(stats.p99),
            interval_in_words(stats.p99_interval),
            _known(stats.min),
            _known(stats.max),
        )
        for name, stats in _in_order(report).items()
    )


def missing_percentiles(report: BenchReport) -> str:
    """Say why percentiles are missing; empty when none is."""
    missing = [
        f"{name} takes {needed} frames"
        for name, needed in NEEDED_SAMPLES.items()
        if report.frames < needed and any(getattr(stats, name) is None for stats in report.stages.values())
    ]
    if not missing:
        return ""
    return f"{UNKNOWN}: {listed(missing)}, and this run had {report.frames}; measure longer"


def waiting(report: BenchReport) -> str:
    """Say how much of the total is waiting, and why; empty when it is next to nothing.

    The next frame of a file or a drawn scene is read while the model works on the one before, and then waits for it; a
    live camera gives its newest frame.
    """
    total = report.stages["total"].mean
    waited = total - sum(report.stages[stage].mean for stage in STAGES if stage in report.stages and stage != "total")
    if waited < _WORTH_SAYING * total:
        return ""
    scheme = report.source.partition(":")[0]
    why = (
        "for the next frame's turn"
        if scheme in LIVE_SCHEMES
        else "because the next frame is read while the model works on the one before"
    )
    return f"{milliseconds(waited)} of the {milliseconds(total)} ms in total are waiting, {why}"


def _in_order(report: BenchReport) -> dict[str, LatencyStats]:
    """The stages in the order in which a frame passes them; JSON keeps none."""
    known = [*STAGES, *sorted(set(report.stages) - set(STAGES))]
    return {stage: report.stages[stage] for stage in known if stage in report.stages}


def _headlines(report: BenchReport, comparison: Comparison | None) -> tuple[Headline, ...]:
    found = [Headline("Throughput", _rate(report.fps), "fps", (("frames", f"{report.frames:,}"),))]
    names = {"total": "Total latency", "invoke": "Model (invoke)"}
    for stage, name in names.items():
        if stage in report.stages:
            latency = _latency(name, report.stages[stage])
            changes = changes_of(comparison, stage) if comparison else ()
            found.append(replace(latency, details=(*latency.details, *changes)))
    value, unit = memory(report.peak_rss_bytes).split()
    share = (("model", memory(report.model_rss_bytes)),) if report.model_rss_bytes is not None else ()
    return (
        *found,
        _start(report),
        Headline("Peak memory", value, unit, (*share, ("model file", memory(report.model.size_bytes)))),
    )


def _latency(name: str, stats: LatencyStats) -> Headline:
    ends = interval_in_words(stats.p50_interval)
    certain = ((f"{100 * CONFIDENCE:.0f}%", ends),) if ends else ()
    percentiles = tuple(
        (percentile, f"takes {needed} frames" if value is None and stats.count < needed else _known(value))
        for percentile, needed in NEEDED_SAMPLES.items()
        if (value := getattr(stats, percentile)) is not None or percentile != "p95"
    )
    return Headline(name, milliseconds(stats.p50), "ms p50", (*certain, *percentiles))


def _start(report: BenchReport) -> Headline:
    """The first prediction: of new processes where those were measured, of the measuring one otherwise."""
    load = ("load", f"{milliseconds(report.load_ms)} ms")
    first = milliseconds(report.first_inference_ms)
    times = report.cold_start.first_prediction_ms if report.cold_start else ()
    if not times:
        return Headline("First inference", first, "ms", (load,))
    return Headline("Cold start", milliseconds(median(times)), "ms", (("from load", f"{first} ms"), load))


def _starts(report: BenchReport) -> tuple[Bar, ...]:
    """Each new process's time to its first prediction: the first one may have read from the card."""
    times = report.cold_start.first_prediction_ms if report.cold_start else ()
    return bars(
        [
            (f"start {number}", "p90" if number == 1 else "p50", value, f"{milliseconds(value)} ms")
            for number, value in enumerate(times, start=1)
        ]
    )


def _memory(report: BenchReport) -> tuple[Bar, ...]:
    rows = [("process", "first", report.peak_rss_bytes), ("model", "p50", report.model_rss_bytes)]
    rows.append(("file", "second", report.model.size_bytes))
    return bars([(name, kind, float(count), memory(count)) for name, kind, count in rows if count is not None])


def _camera(rate: AtRate) -> CameraView:
    """Say whether the model keeps up with a camera, and how old its answers are."""
    fps, stats = f"{rate.camera_fps:g}", rate.latency
    came = rate.frames + rate.dropped
    lost = rate.dropped / came if came else 0.0
    keeps = lost <= 1 - _KEEPS_UP
    told = f"{'none' if not rate.dropped else f'{rate.dropped:,}'} of {came:,} frames came too fast"
    rows = [("answered", "good", float(rate.frames), f"{100 * (1 - lost):.1f}%"), ("dropped", "bad", 0.0, "0%")]
    if rate.dropped:
        rows[1] = ("dropped", "bad", float(rate.dropped), f"{100 * lost:.1f}%")
    ages = [(name, getattr(stats, name)) for name in ("p50", *NEEDED_SAMPLES)]
    facts = [
        ("Predictions", f"{_rate(rate.fps)} per second, of {fps} frames"),
        ("Between frames", f"{milliseconds(1e3 / rate.camera_fps)} ms"),
        *((f"Age, {name}", f"{milliseconds(value)} ms") for name, value in ages if value is not None),
        ("Oldest", f"{milliseconds(stats.max)} ms"),
    ]
    return CameraView(
        f"With a camera of {fps} fps",
        f"The model {'keeps up with the camera' if keeps else 'is slower than the camera'}: {told}.",
        bars(rows, float(came) or None),
        tuple(facts),
    )


def _known(value: float | None) -> str:
    return UNKNOWN if value is None else milliseconds(value)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
