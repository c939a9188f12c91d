"""A sweep as a table and a few sentences, for terminals and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.benching.recommend import accuracy_in_words, ends_of
from edgekit.benching.sweep_report import Accuracy, PointLatency, SweepPoint, SweepReport
from edgekit.reporting.axes import UNKNOWN, memory, milliseconds

METRICS = {"top1": "top-1", "map50": "mAP@0.5", "miou": "mean IoU", "mae": "mean error"}


@dataclass(frozen=True)
class SweepTable:
    """Cells as texts; ``right`` are the positions of columns that are right-aligned, ``notes`` sentences below."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...]
    notes: tuple[str, ...]


def sweep_table(report: SweepReport) -> SweepTable:
    """Return the table: a row for each point, in the order of the axes' values, with a mark on the recommended one."""
    axes = [axis.name for axis in report.axes]
    metric = next((point.accuracy.metric for point in report.points if point.accuracy), None)
    accuracy = () if metric is None else (METRICS.get(metric, metric),)
    columns = ("", "#", *axes, *accuracy, "p50 ms", "p95 ms", "size", "")
    rows = tuple(_row(report, point, axes, scored=metric is not None) for point in report.points)
    left = {0, *(2 + place for place, name in enumerate(axes) if name != "threads"), len(columns) - 1}
    right = tuple(place for place in range(len(columns)) if place not in left)
    return SweepTable(columns, rows, right, _notes(report))


def shown_accuracy(accuracy: Accuracy | None) -> str:
    """Return an accuracy with its interval: ``97.5% (95.0–98.8)``."""
    if accuracy is None:
        return UNKNOWN
    ends = ends_of(accuracy)
    return f"{accuracy_in_words(accuracy)} ({ends})" if ends else accuracy_in_words(accuracy)


def shown_latency(latency: PointLatency | None, percentile: str) -> str:
    """Return a percentile with its interval: ``4.21 (4.05–4.38)``."""
    value = None if latency is None else getattr(latency, percentile)
    if value is None:
        return UNKNOWN
    interval = getattr(latency, f"{percentile}_interval")
    if interval is None:
        return milliseconds(value)
    return f"{milliseconds(value)} ({milliseconds(interval.low)}–{milliseconds(interval.high)})"


def remark(report: SweepReport, point: SweepPoint) -> str:
    """Say what is to be known of a point, the most important first."""
    if point.latency is None:
        return f"failed: {point.error.message.splitlines()[0]}" if point.error else "not measured"
    words = []
    if report.recommended is not None and report.recommended.point == point.number:
        words.append("recommended")
    if point.disturbed:
        words.append(f"disturbed: {point.disturbed[0]}")
    if point.on_front:
        words.append("on the front")
    elif point.dominated_by:
        words.append(f"beaten by {', '.join(str(number) for number in point.dominated_by)}")
    if point.error:
        words.append(f"failed after {len(point.runs)} rounds: {point.error.message.splitlines()[0]}")
    return "; ".join(words)


def _row(report: SweepReport, point: SweepPoint, axes: list[str], *, scored: bool) -> tuple[str, ...]:
    chosen = report.recommended is not None and report.recommended.point == point.number
    return (
        "→" if chosen else "",
        str(point.number),
        *(point.setting.word(axis) for axis in axes),
        *((shown_accuracy(point.accuracy),) if scored else ()),
        shown_latency(point.latency, "p50"),
        shown_latency(point.latency, "p95"),
        UNKNOWN if point.model is None else memory(point.model.size_bytes),
        remark(report, point),
    )


def _notes(report: SweepReport) -> tuple[str, ...]:
    measured = sum(point.latency is not None for point in report.points)
    rounds = f"{report.rounds} round{'' if report.rounds == 1 else 's'}"
    told = f"{measured} of {len(report.points)} points measured, in {rounds}"
    found = [f"{told}; latency is prepare, invoke and decode of a frame, with 95% intervals"]
    found.extend(report.warnings)
    if report.recommended is None:
        found.append("nothing is recommended: no point was measured")
    else:
        point = report.point(report.recommended.point)
        found.append(f"recommended: {report.label(point)}: {report.recommended.reason}")
    return tuple(found)
