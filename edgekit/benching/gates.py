"""Decides whether a run keeps its limits (``--fail-over``), and whether it became slower (``--fail-regression``).

A limit is missed when the figure as measured is beyond it. A regression gate is missed when the whole interval of the
ratio lies above ``1 + share``: that the run became slower by more than that is shown, and not only measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from device_runtime.bench.statistics import NEEDED_SAMPLES
from device_runtime.contract.bench import BenchReport, Interval, LatencyStats
from device_runtime.contract.decode import suggestion
from device_runtime.contract.prediction import DRAW, STAGES
from device_runtime.errors import EdgeError, UsageError
from edgekit.benching.compare import JUDGED, PERCENTILES, Comparison, change, disturbances, signed
from edgekit.reporting.axes import memory, milliseconds

_LATENCIES = ("p50", "p90", "p95", "p99", "mean", "max")
_OF_THE_RUN = {"fps": "fps", "memory": "bytes", "cold-start": "ms", "load": "ms"}
"""Figures that belong to no stage, and their units."""

_UNITS = {
    "ms": {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
    "bytes": {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9},
    "fps": {"": 1.0, "fps": 1.0},
}
_EXAMPLES = {"ms": "40ms", "bytes": "200MB", "fps": "20"}

_NUMBER = r"(\d+(?:\.\d+)?)"


class GateMissedError(EdgeError):
    """A run was over a limit, or became slower than it may; its report was written all the same."""

    code = "gate-missed"
    exit_code = 8


class GateUndecidedError(EdgeError):
    """A run was too short, or too disturbed, to pass a gate; its report was written all the same."""

    code = "gate-undecided"
    exit_code = 8


@dataclass(frozen=True)
class Limit:
    """What a figure may be at most, or ``fps`` at least: in ms, bytes or fps. ``stage`` is None for the run's own."""

    text: str
    figure: str
    value: float
    stage: str | None = None

    @property
    def unit(self) -> str:
        """``ms``, ``bytes`` or ``fps``."""
        return _OF_THE_RUN.get(self.figure, "ms")

    @property
    def name(self) -> str:
        """The figure as people write it: ``invoke.p95``, ``fps``."""
        return f"{self.stage}.{self.figure}" if self.stage else self.figure


@dataclass(frozen=True)
class Regression:
    """By how much of itself (0.1: a tenth) a figure may become slower; without a figure, any of ``JUDGED``."""

    text: str
    share: float
    stage: str | None = None
    percentile: str = "p50"


@dataclass(frozen=True)
class Gate:
    """What came of one gate. ``detail`` says with which figures, ``remedy`` what to do when it was not passed."""

    name: str
    outcome: Literal["passed", "missed", "undecided"]
    detail: str
    remedy: str = ""


def parse_limit(text: str) -> Limit:
    """Return what ``p95=40ms``, ``invoke.p99=12ms``, ``fps=20`` or ``memory=200MB`` means.

    Raises:
        UsageError: it means nothing.
    """
    example = "--fail-over p95=40ms, invoke.p99=12ms, fps=20 or memory=200MB"
    left, equals, right = (part.strip() for part in text.partition("="))
    if not equals:
        raise UsageError(f"--fail-over: expected FIGURE=LIMIT, got {text!r}", hint=example)
    stage, figure = _figure_named(left, (*_LATENCIES, *_OF_THE_RUN), "--fail-over")
    unit = _OF_THE_RUN.get(figure, "ms")
    found = re.fullmatch(_NUMBER + r"\s*([a-zµ]*)", right.lower())
    factor = _UNITS[unit].get(found[2]) if found else None
    if not found or factor is None or float(found[1]) <= 0:
        what = "a number above 0" if unit == "fps" else f"a number above 0 with its unit, as {_EXAMPLES[unit]}"
        raise UsageError(f"--fail-over: {left}: expected {what}, got {right!r}", hint=example)
    own = figure in _OF_THE_RUN
    return Limit(f"{left}={right}", figure, float(found[1]) * factor, None if own else stage or "total")


def parse_regression(text: str) -> Regression:
    """Return what ``10%`` or ``invoke.p99=10%`` means.

    Raises:
        UsageError: it means nothing.
    """
    example = "--fail-regression 10%, or invoke.p99=10%"
    left, equals, right = (part.strip() for part in text.rpartition("="))
    found = re.fullmatch(_NUMBER + r"\s*%", right)
    if not found:
        raise UsageError(f"--fail-regression: expected a share in per cent, got {text!r}", hint=example)
    share = float(found[1]) / 100
    if not equals:
        return Regression(text.strip(), share)
    stage, figure = _figure_named(left, tuple(PERCENTILES), "--fail-regression")
    return Regression(text.strip(), share, stage or "total", figure)


def judge_limits(report: BenchReport, limits: Sequence[Limit], *, accept_disturbed: bool = False) -> tuple[Gate, ...]:
    """Hold a run against limits.

    A figure that the run has not, or one of a disturbed run, decides nothing.

    Args:
        report: the run.
        limits: what it must keep.
        accept_disturbed: a disturbed run may decide, too. Times of an emulated machine never do.
    """
    return tuple(_judge_limit(report, limit, accept_disturbed) for limit in limits)


def judge_regressions(
    comparison: Comparison | None, regressions: Sequence[Regression], *, accept_disturbed: bool = False
) -> tuple[Gate, ...]:
    """Hold the difference between two runs against what it may be.

    Args:
        comparison: the two runs; None where there was nothing to compare with, which decides nothing.
        regressions: what may be.
        accept_disturbed: disturbed runs may decide, too. Those of different or emulated machines never do.
    """
    gates = []
    for each in regressions:
        wanted = JUDGED if each.stage is None else ((each.stage, each.percentile),)
        gates += [_judge_regression(comparison, each, *figure, accept_disturbed) for figure in wanted]
    return tuple(gates)


def error_of(gates: Sequence[Gate]) -> EdgeError | None:
    """Return the error for gates that were not all passed: a missed one counts for more than one not decided."""
    for kind, outcome, word in (
        (GateMissedError, "missed", "missed"),
        (GateUndecidedError, "undecided", "not decided"),
    ):
        found = [gate for gate in gates if gate.outcome == outcome]
        if found:
            message = "; ".join(f"{gate.name}: {gate.detail}" for gate in found)
            count = "a gate was" if len(found) == 1 else f"{len(found)} gates were"
            hints = list(dict.fromkeys(gate.remedy for gate in found if gate.remedy))
            return kind(f"{count} {word}: {message}", hint="\n".join(hints))
    return None


def figure_of(report: BenchReport, limit: Limit) -> float | None:
    """Return the figure that a limit is about, in the limit's unit; None where the run has it not."""
    if limit.stage:
        return _percentile(report, limit.stage, limit.figure) if limit.stage in report.stages else None
    if limit.figure == "cold-start":
        times = report.cold_start.first_prediction_ms if report.cold_start else ()
        return max(times) if times else None
    return {"fps": report.fps, "memory": float(report.peak_rss_bytes), "load": report.load_ms}[limit.figure]


def _figure_named(text: str, figures: tuple[str, ...], option: str) -> tuple[str | None, str]:
    stage, dot, figure = text.rpartition(".")
    if figure not in figures:
        raise UsageError(f'{option}: no figure "{figure}"', hint=suggestion(figure, figures))
    if dot and figure in _OF_THE_RUN:
        raise UsageError(f"{option}: {figure} is of the whole run, not of {stage!r}", hint=f"{option} {figure}=…")
    stages = (*STAGES, DRAW)
    if dot and stage not in stages:
        raise UsageError(f'{option}: no stage "{stage}"', hint=suggestion(stage, stages))
    return stage or None, figure


def _judge_limit(report: BenchReport, limit: Limit, accept_disturbed: bool) -> Gate:  # noqa: FBT001 - passed on
    sign = "≥" if limit.unit == "fps" else "≤"
    name = f"{limit.name} {sign} {_in_words(limit.value, limit.unit)}"
    value = figure_of(report, limit)
    if value is None:
        return Gate(name, "undecided", *_not_there(report, limit))
    shown = _in_words(value, limit.unit)
    timed = limit.unit != "bytes"
    if timed and report.before.emulated:
        detail = f"{shown}, on a machine emulated by {report.before.emulated}: its times mean nothing"
        return Gate(name, "undecided", detail, "measure on the board itself")
    kept = value >= limit.value if limit.unit == "fps" else value <= limit.value
    if timed and (reasons := disturbances(report)) and not accept_disturbed:
        detail = f"{shown} in a disturbed run: {'; '.join(reasons)}"
        return Gate(name, "undecided", detail, _REMEDY_DISTURBED)
    interval = _interval_of(report.stages.get(limit.stage or ""), limit.figure)
    close = ""
    if interval and interval.low <= limit.value < interval.high:
        close = (
            f" (between {milliseconds(interval.low)} and {milliseconds(interval.high)}: another run may tell otherwise)"
        )
    return Gate(name, "passed" if kept else "missed", f"{shown}{close}")


_REMEDY_DISTURBED = "measure again on a quiet machine, or let such runs decide: --accept-disturbed"


def _not_there(report: BenchReport, limit: Limit) -> tuple[str, str]:
    """Say why a run has not a figure, and what would give it."""
    if limit.figure == "cold-start":
        return "no cold start was measured", "measure it: --cold-starts 3"
    if limit.stage not in report.stages:
        return f"stage {limit.stage} was not measured", "measure it: --draw" if limit.stage == DRAW else ""
    needed = NEEDED_SAMPLES[limit.figure]
    frames = report.stages[limit.stage].count
    return f"{limit.figure} takes {needed} frames, and this run had {frames}", f"measure longer: --runs {needed}"


def _judge_regression(
    comparison: Comparison | None,
    allowed: Regression,
    stage: str,
    percentile: str,
    accept_disturbed: bool,  # noqa: FBT001 - passed on
) -> Gate:
    name = f"{stage}.{percentile} at most {signed(1 + allowed.share)}"
    if comparison is None:
        return Gate(name, "undecided", "there is no saved run to compare with", "save one: edgekit bench --save")
    figure = comparison.figure(stage, percentile)
    if figure is None:
        return Gate(name, "undecided", *_not_in_both(comparison, stage, percentile))
    if figure.interval is None:
        return Gate(name, "undecided", figure.why, "compare runs of the same source, and longer ones: --runs 100")
    grave = [each.text for each in comparison.doubts if each.grave]
    other = [each.text for each in comparison.doubts if not each.grave]
    if grave:
        detail = f"{change(figure)}, but {'; '.join(grave)}"
        return Gate(name, "undecided", detail, "compare with a run of the same machine, on the machine itself")
    if other and not accept_disturbed:
        return Gate(name, "undecided", f"{change(figure)}, but {'; '.join(other)}", _REMEDY_DISTURBED)
    outcome: Literal["passed", "missed"] = "missed" if figure.interval.low > 1 + allowed.share else "passed"
    hidden = ""
    if outcome == "passed" and figure.interval.high > 1 + allowed.share:
        hidden = f": these runs cannot show a slow-down of less than {signed(figure.interval.high)}"
    return Gate(name, outcome, f"{change(figure)}{hidden}")


def _not_in_both(comparison: Comparison, stage: str, percentile: str) -> tuple[str, str]:
    frames = min(comparison.before.frames, comparison.after.frames)
    needed = NEEDED_SAMPLES.get(percentile, 0)
    if frames < needed:
        return (
            f"{percentile} takes {needed} frames of each run, and one has {frames}",
            f"save and measure longer runs: --runs {needed}",
        )
    return f"stage {stage} was not measured in both runs", "measure it in both: --draw" if stage == DRAW else ""


def _percentile(report: BenchReport, stage: str, figure: str) -> float | None:
    stats = report.stages[stage]
    value: float | None = getattr(stats, figure)
    # Version 1 had no p95, but its samples are there.
    samples = report.samples_ms.get(stage, ())
    if value is None and report.schema == 1 and figure == "p95" and len(samples) >= NEEDED_SAMPLES["p95"]:
        return float(np.percentile(samples, 95))
    return value


def _interval_of(stats: LatencyStats | None, figure: str) -> Interval | None:
    return {"p50": stats.p50_interval, "p99": stats.p99_interval}.get(figure) if stats else None


def _in_words(value: float, unit: str) -> str:
    if unit == "bytes":
        return memory(int(value))
    return f"{value:.1f}" if unit == "fps" else f"{milliseconds(value)} ms"
