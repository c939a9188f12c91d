"""The HTML report of a benchmark."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from device_runtime.bench import SAMPLES_FOR_P90, SAMPLES_FOR_P99, WARMUP_FRAMES, WARMUP_S
from device_runtime.contract.bench import BenchReport, LatencyStats, MachineState
from device_runtime.contract.prediction import STAGES
from device_runtime.machine import decode_throttled
from edgekit.benching.figures import Histogram, StageBar, Timeline, histogram, stage_bars, timeline
from edgekit.benching.verdict import judge
from edgekit.reporting.axes import memory, milliseconds
from edgekit.reporting.page import Card, Headline, Verdict, count_of, render_page

NOT_TOLD = "not told by this machine"
UNKNOWN = "–"

LIVE_SCHEMES = ("v4l2", "camera")
"""Sources whose frames come by themselves: of these the newest one counts, and waiting is short."""

_WORTH_SAYING = 0.1

_TEMPLATES = Path(__file__).parent / "templates"
_DRAWN = ("total", "invoke")
"""The stages that get a histogram and a line in the timeline."""

STAGE_MEANINGS = {
    "capture": "Decoding one frame; waiting until a camera has a new one is not in it. Runs beside the other stages.",
    "prepare": "Resizing, colour order and normalisation, written straight into the model's input.",
    "invoke": "The model itself, run by the engine.",
    "decode": "Turning the model's outputs into labels, scores and boxes.",
    "total": "From the moment a frame was captured to its finished prediction, waiting for its turn included.",
}


@dataclass(frozen=True)
class Row:
    """A line of the stage table, as texts in ms; a percentile that the run is too short for is "–"."""

    stage: str
    mean: str
    p50: str
    p90: str
    p99: str
    min: str
    max: str


@dataclass(frozen=True)
class View:
    """Everything that the page shows, in its words."""

    title: str
    subtitle: tuple[str, ...]
    verdict: Verdict
    warnings: tuple[str, ...]
    headlines: tuple[Headline, ...]
    rows: tuple[Row, ...]
    missing: str
    waiting: str
    bars: tuple[StageBar, ...]
    histograms: tuple[tuple[str, Histogram], ...]
    timeline: Timeline | None
    machine: Card
    cards: tuple[Card, ...]
    source: str
    warmup_frames: int
    meanings: tuple[tuple[str, str], ...]


def render(report: BenchReport) -> str:
    """Return the whole page as HTML. Whatever the report says is shown as text, never as markup."""
    return render_page(
        _TEMPLATES,
        "bench.html.j2",
        view=view_of(report),
        not_told=NOT_TOLD,
        warmup_frames=WARMUP_FRAMES,
        warmup_s=WARMUP_S,
        samples_for_p90=SAMPLES_FOR_P90,
        samples_for_p99=SAMPLES_FOR_P99,
    )


def view_of(report: BenchReport) -> View:
    """Return what the page shows of a report."""
    drawn = {stage: report.samples_ms[stage] for stage in _DRAWN if report.samples_ms.get(stage)}
    stages = _in_order(report)
    return View(
        title=report.model.name,
        subtitle=(
            report.before.board or report.before.cpu,
            f"{report.engine.name} {report.engine.version}, {count_of(report.engine.threads, 'thread')}",
            _moment(report.created),
        ),
        verdict=judge(report),
        warnings=report.warnings,
        headlines=_headlines(report),
        rows=stage_rows(report),
        missing=missing_percentiles(report),
        waiting=waiting(report),
        bars=stage_bars(stages),
        histograms=tuple((stage, histogram(stage, values, report.stages[stage])) for stage, values in drawn.items()),
        timeline=timeline(dict(drawn), report.frames) if drawn else None,
        machine=_machine(report.before, report.after),
        cards=_cards(report),
        source=report.source,
        warmup_frames=report.warmup_frames,
        meanings=tuple((stage, STAGE_MEANINGS.get(stage, "")) for stage in stages),
    )


def stage_rows(report: BenchReport) -> tuple[Row, ...]:
    """Return the stage table, in ms."""
    return tuple(
        Row(name, *(_known(value) for value in (stats.mean, stats.p50, stats.p90, stats.p99, stats.min, stats.max)))
        for name, stats in _in_order(report).items()
    )


def missing_percentiles(report: BenchReport) -> str:
    """Say why percentiles are missing; empty when none is."""
    wanted = {"p90": SAMPLES_FOR_P90, "p99": SAMPLES_FOR_P99}
    missing = [
        f"{name} takes {needed} frames"
        for name, needed in wanted.items()
        if any(getattr(stats, name) is None for stats in report.stages.values())
    ]
    if not missing:
        return ""
    return f"{UNKNOWN}: {' and '.join(missing)}, and this run had {report.frames}; measure longer"


def waiting(report: BenchReport) -> str:
    """Say how much of the total is waiting, and why; empty when it is next to nothing.

    The next frame of a file or a drawn scene is read while the model works on the one before, and then waits for it; a
    live camera gives its newest frame.
    """
    total = report.stages["total"].mean
    waited = total - sum(stats.mean for stage, stats in report.stages.items() if stage != "total")
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


def _headlines(report: BenchReport) -> tuple[Headline, ...]:
    found = [Headline("Throughput", _rate(report.fps), "fps", (("frames", f"{report.frames:,}"),))]
    names = {"total": "Total latency", "invoke": "Model (invoke)"}
    found.extend(_latency(name, report.stages[stage]) for stage, name in names.items() if stage in report.stages)
    value, unit = memory(report.peak_rss_bytes).split()
    return (
        *found,
        Headline(
            "First inference",
            milliseconds(report.first_inference_ms),
            "ms",
            (("load", f"{milliseconds(report.load_ms)} ms"),),
        ),
        Headline("Peak memory", value, unit, (("model file", memory(report.model.size_bytes)),)),
    )


def _latency(name: str, stats: LatencyStats) -> Headline:
    return Headline(name, milliseconds(stats.p50), "ms p50", (("p90", _known(stats.p90)), ("p99", _known(stats.p99))))


def _cards(report: BenchReport) -> tuple[Card, ...]:
    engine = report.engine
    model = (
        ("Name", report.model.name),
        ("Input", report.model.input),
        ("File size", memory(report.model.size_bytes)),
        ("SHA-256", report.model.sha256),
        *((("Release", report.release),) if report.release else ()),
    )
    return (
        Card("Model", model),
        Card(
            "Engine",
            (
                ("Engine", f"{engine.name} {engine.version}"),
                ("Threads", str(engine.threads)),
                ("Operators run by", "XNNPACK" if engine.delegate == "xnnpack" else engine.delegate),
                ("Load time", f"{milliseconds(report.load_ms)} ms"),
            ),
        ),
        Card(
            "Run",
            (
                ("Source", report.source),
                ("Measured", f"{report.duration_s:.1f} s, {report.frames:,} frames"),
                ("Warm-up", f"{report.warmup_frames:,} frames, not counted"),
                ("Dropped", f"{report.dropped:,} frames"),
                ("Date", _moment(report.created)),
            ),
        ),
    )


def _machine(before: MachineState, after: MachineState) -> Card:
    facts = (
        ("CPU", f"{before.cpu} ({before.machine})"),
        ("Board", before.board or NOT_TOLD),
        ("Cores", str(before.cores)),
        ("Memory", f"{before.memory_bytes / 1e9:.1f} GB" if before.memory_bytes is not None else NOT_TOLD),
        ("Governor", _change(before.governor, after.governor)),
        ("Clock", _change(_rounded(before.frequency_mhz, " MHz"), _rounded(after.frequency_mhz, " MHz"))),
        ("Temperature", _change(_rounded(before.temperature_c, " °C", 1), _rounded(after.temperature_c, " °C", 1))),
        ("Throttling before", _throttling(before)),
        ("Throttling after", _throttling(after)),
        ("Load before", _rounded(before.load_1min, " (1 min average)", 2) or NOT_TOLD),
        ("Kernel", before.kernel),
        ("Python", before.python),
    )
    return Card("Machine", facts)


def _known(value: float | None) -> str:
    return UNKNOWN if value is None else milliseconds(value)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _rounded(value: float | None, unit: str, digits: int = 0) -> str | None:
    return None if value is None else f"{value:.{digits}f}{unit}"


def _change(before: str | None, after: str | None) -> str:
    if before is None and after is None:
        return NOT_TOLD
    return before or "" if before == after else f"{before or UNKNOWN} → {after or UNKNOWN}"


def _throttling(state: MachineState) -> str:
    if state.throttled is None:
        return NOT_TOLD
    now, since_boot = decode_throttled(state.throttled)
    if not now and not since_boot:
        return f"none (0x{state.throttled:x})"
    return f"now: {', '.join(now) or 'none'}; since boot: {', '.join(since_boot) or 'none'} (0x{state.throttled:x})"


def _moment(created: str) -> str:
    try:
        moment = dt.datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()
