"""The geometry of a bench report's figures: numbers in, positions in per cent of the plot area out. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device_runtime.contract.bench import LatencyStats
from edgekit.reporting.axes import Tick, milliseconds, nice_step, percent, ticks

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_MIN_BINS, _MAX_BINS = 10, 48
_OUTLIER_PERCENTILE = 99.5
_TABLE_ROWS = 8
_LEAST_SPAN = 0.02
"""A histogram spans at least this share of its values: equal latencies are one bar and not noise."""

_CLIP = 1.25
"""The axis ends at this multiple of the 99.5th percentile when a few frames lie far above it; they are counted then."""


@dataclass(frozen=True)
class Bin:
    """A bar of a histogram; positions and height 0–100 of the plot."""

    left: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Marker:
    """A percentile in a histogram: ``at`` is None where it lies beyond the axis."""

    name: str
    value: str
    at: float | None


@dataclass(frozen=True)
class Histogram:
    """How often each latency occurred. ``beyond`` frames are right of the axis's end; ``rows`` say it in words."""

    bins: tuple[Bin, ...]
    ticks: tuple[Tick, ...]
    markers: tuple[Marker, ...]
    beyond: int
    longest: str
    summary: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Bar:
    """A length, 0–100 of the longest one beside it; ``kind`` is its colour's name."""

    name: str
    kind: str
    length: float
    value: str


@dataclass(frozen=True)
class StageBar:
    """One stage's percentiles as lengths, 0–100 of the longest stage's; None where a percentile is not known."""

    name: str
    p50: float
    p90: float | None
    p99: float | None
    value: str


def bars(rows: Sequence[tuple[str, str, float, str]], whole: float | None = None) -> tuple[Bar, ...]:
    """Return bars on one scale that begins at 0 and ends at ``whole``, or at the longest.

    Args:
        rows: of each bar its name, kind, number and how that is written.
        whole: what the full length means.
    """
    end = whole if whole is not None else max((number for _, _, number, _ in rows), default=0.0)
    return tuple(Bar(name, kind, min(100.0, percent(number, end)), text) for name, kind, number, text in rows)


def stage_bars(stages: dict[str, LatencyStats]) -> tuple[StageBar, ...]:
    """Return the bars of all stages on one scale that begins at 0."""
    longest = max(
        value for stats in stages.values() for value in (stats.p50, stats.p90, stats.p99) if value is not None
    )

    def length(value: float | None) -> float | None:
        return None if value is None else percent(value, longest)

    return tuple(
        StageBar(name, percent(stats.p50, longest), length(stats.p90), length(stats.p99), milliseconds(stats.p50))
        for name, stats in stages.items()
    )


def histogram(name: str, samples: Sequence[float], stats: LatencyStats) -> Histogram:
    """Return the distribution of at least one latency in ms."""
    values = np.asarray(samples, np.float64)
    shortest, end = float(values.min()), end_of_axis(values, _CLIP)
    step = nice_step(max(end - shortest, _LEAST_SPAN * end), 8)
    # Rounding may not push the ends of the axis past the values that they were made from.
    low = min(shortest, math.floor(shortest / step) * step)
    high = max(end, math.ceil(end / step) * step, low + step)
    shown = values[values <= high]
    edges = np.linspace(low, high, _bin_count(shown, low, high) + 1)
    counts, _ = np.histogram(shown, edges)
    tallest = max(1, int(counts.max()))
    bins = tuple(
        Bin(
            percent(left - low, high - low),
            percent(right - left, high - low),
            percent(int(count), tallest),
            f"{milliseconds(left)}–{milliseconds(right)} ms: {count} frames",
        )
        for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if count
    )
    markers = tuple(
        Marker(label, milliseconds(value), percent(value - low, high - low) if value <= high else None)
        for label, value in (("p50", stats.p50), ("p90", stats.p90), ("p95", stats.p95), ("p99", stats.p99))
        if value is not None
    )
    percentiles = ", ".join(f"{marker.name} {marker.value} ms" for marker in markers)
    summary = f"Histogram of {name} latency over {stats.count} frames: {percentiles}"
    beyond = int((values > high).sum())
    rows = _rows(edges.tolist(), counts.tolist(), beyond, len(values))
    return Histogram(bins, ticks(low, high, 5), markers, beyond, milliseconds(stats.max), summary, rows)


def _rows(edges: list[float], counts: list[int], beyond: int, everything: int) -> tuple[tuple[str, str], ...]:
    """Return the bars as a table of a few rows: from where to where, and the share of frames."""
    size = math.ceil(len(counts) / _TABLE_ROWS)
    pieces = [
        (
            f"{milliseconds(edges[at])}–{milliseconds(edges[min(at + size, len(counts))])} ms",
            sum(counts[at : at + size]),
        )
        for at in range(0, len(counts), size)
    ]
    if beyond:
        pieces.append((f"above {milliseconds(edges[-1])} ms", beyond))
    return tuple((name, f"{count:,} ({100 * count / everything:.1f}%)") for name, count in pieces)


def end_of_axis(values: Values, factor: float) -> float:
    """Where an axis should end: at the maximum, unless a few outliers would flatten all the rest."""
    usual = float(np.percentile(values, _OUTLIER_PERCENTILE)) * factor
    return max(min(float(values.max()), usual), 1e-6)


def _bin_count(values: Values, low: float, high: float) -> int:
    """Freedman and Diaconis (1981): bins of 2 IQR / cube root of n."""
    quarter, three = np.percentile(values, [25, 75])
    width = 2 * float(three - quarter) / len(values) ** (1 / 3)
    return int(min(_MAX_BINS, max(_MIN_BINS, (high - low) / width))) if width > 0 else _MIN_BINS
