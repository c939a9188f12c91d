"""The geometry of a bench report's figures: numbers in, positions in per cent of the plot area out. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device_runtime.contract.bench import LatencyStats
from edgekit.reporting.axes import Tick, milliseconds, nice_step, percent, ticks

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_COLUMNS = 240
"""Columns of a timeline: about one per two pixels of a wide screen."""

_MIN_BINS, _MAX_BINS = 10, 48
_OUTLIER_PERCENTILE = 99.5
_LEAST_SPAN = 0.02
"""A histogram spans at least this share of its values: equal latencies are one bar and not noise."""

_CLIP_HISTOGRAM, _CLIP_TIMELINE = 1.25, 1.6
"""An axis ends at this multiple of the 99.5th percentile when a few frames lie far above it; they are counted then."""


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
    """How often each latency occurred. ``beyond`` frames are right of the axis's end."""

    bins: tuple[Bin, ...]
    ticks: tuple[Tick, ...]
    markers: tuple[Marker, ...]
    beyond: int
    longest: str
    summary: str


@dataclass(frozen=True)
class Series:
    """One stage over the run: points ``x,y`` of the medians and of the band from minimum to maximum, y downwards."""

    name: str
    line: str
    band: str


@dataclass(frozen=True)
class Timeline:
    """Latencies in the order of their frames. ``beyond`` frames are above the axis's end, at ``beyond_at``."""

    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    beyond: int
    beyond_at: tuple[float, ...]
    longest: str
    summary: str


@dataclass(frozen=True)
class StageBar:
    """One stage's percentiles as lengths, 0–100 of the longest stage's; None where a percentile is not known."""

    name: str
    p50: float
    p90: float | None
    p99: float | None
    value: str


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
    shortest, end = float(values.min()), _end_of_axis(values, _CLIP_HISTOGRAM)
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
        for label, value in (("p50", stats.p50), ("p90", stats.p90), ("p99", stats.p99))
        if value is not None
    )
    percentiles = ", ".join(f"{marker.name} {marker.value} ms" for marker in markers)
    summary = f"Histogram of {name} latency over {stats.count} frames: {percentiles}"
    return Histogram(bins, ticks(low, high, 5), markers, int((values > high).sum()), milliseconds(stats.max), summary)


def timeline(samples: dict[str, Sequence[float]], frames: int) -> Timeline:
    """Return latencies in ms in the order of their ``frames``: evenly thinned samples of one or more stages."""
    arrays = {name: np.asarray(values, np.float64) for name, values in samples.items()}
    everything = np.concatenate(list(arrays.values()))
    wanted = max(_end_of_axis(values, _CLIP_TIMELINE) for values in arrays.values())
    step = nice_step(wanted, 5)
    high = math.ceil(wanted / step - 1e-9) * step
    series = tuple(_series(name, values, high) for name, values in arrays.items())
    beyond = np.unique(np.concatenate([np.flatnonzero(values > high) for values in arrays.values()]))
    count = max(len(values) for values in arrays.values())
    summary = f"Latency of {' and '.join(arrays)} over {frames} frames, at most {milliseconds(everything.max())} ms"
    return Timeline(
        series,
        ticks(0, max(1, frames - 1), 6),
        ticks(0, high, 5),
        len(beyond),
        tuple(sorted({round(percent(float(at), max(1, count - 1)), 1) for at in beyond})),
        milliseconds(float(everything.max())),
        summary,
    )


def _series(name: str, values: Values, high: float) -> Series:
    columns = np.array_split(values, min(_COLUMNS, len(values)))
    ends = np.cumsum([len(column) for column in columns])
    middle = ends - np.array([len(column) for column in columns]) / 2 - 0.5
    xs = 100 * middle / max(1, len(values) - 1)
    middles = [float(np.median(column)) for column in columns]
    tops = [float(column.max()) for column in columns]
    bottoms = [float(column.min()) for column in columns]
    upper = [_point(x, y, high) for x, y in zip(xs.tolist(), tops, strict=True)]
    lower = [_point(x, y, high) for x, y in zip(xs.tolist(), bottoms, strict=True)]
    line = [_point(x, y, high) for x, y in zip(xs.tolist(), middles, strict=True)]
    return Series(name, " ".join(line), " ".join([*upper, *reversed(lower)]))


def _point(x: float, y: float, high: float) -> str:
    return f"{x:.2f},{100 - min(100.0, percent(y, high)):.2f}"


def _end_of_axis(values: Values, factor: float) -> float:
    """Where an axis should end: at the maximum, unless a few outliers would flatten all the rest."""
    usual = float(np.percentile(values, _OUTLIER_PERCENTILE)) * factor
    return max(min(float(values.max()), usual), 1e-6)


def _bin_count(values: Values, low: float, high: float) -> int:
    """Freedman and Diaconis (1981): bins of 2 IQR / cube root of n."""
    quarter, three = np.percentile(values, [25, 75])
    width = 2 * float(three - quarter) / len(values) ** (1 / 3)
    return int(min(_MAX_BINS, max(_MIN_BINS, (high - low) / width))) if width > 0 else _MIN_BINS
