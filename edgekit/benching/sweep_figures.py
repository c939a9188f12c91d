"""The geometry of a sweep's plots: accuracy against latency and size, or size against latency. Draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from device_runtime.contract.bench import Interval
from edgekit.benching.figures import Bar, bars
from edgekit.benching.pareto import comparable, latency_cost
from edgekit.benching.recommend import accuracy_in_words
from edgekit.benching.sweep_report import Accuracy, SweepPoint, SweepReport
from edgekit.reporting.axes import Tick, memory, milliseconds, percent, ticks
from edgekit.reporting.metrics import metric_name
from edgekit.reporting.page import sentence
from edgekit.reporting.scatter import MARGIN, Label, cost_axis, place_labels, stairs

Kind = Literal["chosen", "kept", "beaten", "doubtful"]
_KINDS: tuple[Kind, ...] = ("chosen", "kept", "beaten", "doubtful")

_LEAST_MS = 1e-6
"""What the clock resolves, 1 ns: an axis of ratios has no place for 0."""

_LEAST_SPAN = 0.5
"""What an axis of shares spans at least, in per cent: two models with the same accuracy are not a mountain apart."""


@dataclass(frozen=True)
class Point:
    """Points of a sweep at one place, ``number`` in the table (``4–6`` of several): ``x`` and ``y`` 0–100, y downwards.

    ``kind`` is that of the best of them, ``bar`` are the ends of the interval of what the y axis shows. ``beyond`` is
    never so: all points are drawn.
    """

    number: str
    kind: Kind
    x: float
    y: float
    bar: tuple[float, float] | None
    label: Label
    title: str
    beyond: bool = False


@dataclass(frozen=True)
class Plot:
    """Two criteria against each other. ``frontier`` are the points ``x,y`` of its stairs."""

    title: str
    points: tuple[Point, ...]
    frontier: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    caption: str
    summary: str


def plots_of(report: SweepReport) -> tuple[Plot, ...]:
    """Return what a sweep can show: accuracy against latency and against size, or without it size against latency.

    Nothing where no two points differ in what could be drawn against latency.
    """
    measured = [point for point in report.points if latency_cost(point, report.percentile) and point.model]
    judged = [point for point in measured if point.accuracy]
    shown = judged or measured
    if not shown:
        return ()
    latency = _Across(
        "latency",
        f"{report.percentile} of {report.stage} in ms",
        [_latency(point, report) for point in shown],
        *cost_axis([max(_latency(point, report), _LEAST_MS) for point in shown]),
    )
    sizes = [float(point.model.size_bytes if point.model else 0) for point in shown]
    large = max(sizes) >= 1e6
    size = _Across(
        "size",
        f"size of the model in {'MB' if large else 'KB'}",
        sizes,
        *cost_axis([max(value, 1.0) for value in sizes], 1e6 if large else 1e3),
    )
    if not judged:
        return (_plot(report, shown, latency, _size_axis(size)),) if len(set(sizes)) > 1 else ()
    up = _accuracy_axis([point.accuracy for point in shown if point.accuracy])
    plots = (_plot(report, shown, latency, up),)
    # One and the same file in all points says nothing against its own size.
    return (*plots, _plot(report, shown, size, up)) if len(set(sizes)) > 1 else plots


def latency_bars(report: SweepReport) -> tuple[Bar, ...]:
    """Return the latency of each point as a bar, for a sweep in which nothing else differs."""
    rows = [
        (f"{point.number}: {report.label(point)}", _kind(point, report), cost.value, f"{milliseconds(cost.value)} ms")
        for point in report.points
        if (cost := latency_cost(point, report.percentile))
    ]
    return bars(rows)


@dataclass(frozen=True)
class _Across:
    """The axis along the bottom: lower is better."""

    what: str
    caption: str
    values: Sequence[float]
    at: Callable[[float], float]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class _Up:
    """The axis at the left: where each point's value lies, 0–100 downwards, and what of it is worse."""

    what: str
    costs: Sequence[float]
    places: Sequence[float]
    bars: Sequence[tuple[float, float] | None]
    ticks: tuple[Tick, ...]


def _plot(report: SweepReport, shown: Sequence[SweepPoint], across: _Across, up: _Up) -> Plot:
    xs = [min(100.0, max(0.0, across.at(max(value, _LEAST_MS)))) for value in across.values]
    places = list(zip(xs, up.places, strict=True))
    compared = {point.number for point in comparable(report.points, report.percentile)}
    pairs = list(zip(across.values, up.costs, strict=True))
    best = sorted(
        place
        for place, pair, point in zip(places, pairs, shown, strict=True)
        if point.number in compared and not any(_beats(other, pair) for other in _those(pairs, shown, compared))
    )
    return Plot(
        f"{up.what} against {across.what}",
        _points(report, shown, places, up.bars),
        stairs(best),
        across.ticks,
        up.ticks,
        f"{up.what}, by {across.caption}",
        f"{up.what} against {across.what} of {len(shown)} points",
    )


def _points(
    report: SweepReport,
    shown: Sequence[SweepPoint],
    places: Sequence[tuple[float, float]],
    ends: Sequence[tuple[float, float] | None],
) -> tuple[Point, ...]:
    """Return what is drawn: points that differ in nothing that the plot shows are one."""
    groups: dict[tuple[float, float], list[int]] = {}
    for index, place in enumerate(places):
        groups.setdefault(place, []).append(index)
    numbers = [_numbers([shown[index].number for index in group]) for group in groups.values()]
    labels = place_labels(list(groups), [len(number) for number in numbers])
    return tuple(
        Point(
            number,
            min((_kind(shown[index], report) for index in group), key=_KINDS.index),
            x,
            y,
            ends[group[0]],
            label,
            "; ".join(_title(shown[index], report) for index in group),
        )
        for ((x, y), group), number, label in zip(groups.items(), numbers, labels, strict=True)
    )


def _numbers(found: Sequence[int]) -> str:
    """Return the numbers of points at one place in little room: ``4``, ``4–6``, ``4, 7`` or ``4 + 3``."""
    if len(found) == 1:
        return str(found[0])
    if found[-1] - found[0] == len(found) - 1:
        return f"{found[0]}–{found[-1]}"
    return f"{found[0]}, {found[1]}" if len(found) == 2 else f"{found[0]} + {len(found) - 1}"


def _those(
    pairs: Sequence[tuple[float, float]], shown: Sequence[SweepPoint], compared: set[int]
) -> list[tuple[float, float]]:
    return [pair for pair, point in zip(pairs, shown, strict=True) if point.number in compared]


def _beats(one: tuple[float, float], two: tuple[float, float]) -> bool:
    return one != two and one[0] <= two[0] and one[1] <= two[1]


def _kind(point: SweepPoint, report: SweepReport) -> Kind:
    if report.recommended and point.number == report.recommended.point:
        return "chosen"
    if point.disturbed:
        return "doubtful"
    return "kept" if point.on_front else "beaten"


def _title(point: SweepPoint, report: SweepReport) -> str:
    parts = [f"{milliseconds(_latency(point, report))} ms", memory(point.model.size_bytes if point.model else 0)]
    if point.accuracy:
        parts.insert(0, accuracy_in_words(point.accuracy))
    return f"{report.label(point)}: {', '.join(parts)}"


def _latency(point: SweepPoint, report: SweepReport) -> float:
    cost = latency_cost(point, report.percentile)
    return cost.value if cost else 0.0


def _size_axis(size: _Across) -> _Up:
    places = [round(100 - min(100.0, max(0.0, size.at(max(value, 1.0)))), 3) for value in size.values]
    marks = tuple(Tick(round(100 - tick.at, 3), tick.label) for tick in size.ticks)
    return _Up(sentence(size.caption).removesuffix("."), size.values, places, [None] * len(places), marks)


def _accuracy_axis(found: Sequence[Accuracy]) -> _Up:
    """Return the axis of an accuracy: better is higher, also where less of it is better."""
    share = found[0].higher_is_better
    factor = 100.0 if share else 1.0
    values = [factor * each.value for each in found]
    intervals = [_scaled(each.interval, factor) for each in found]
    ends = [*values, *(end for interval in intervals if interval for end in interval)]
    span = max(max(ends) - min(ends), _LEAST_SPAN if share else 1e-9, 1e-3 * max(abs(end) for end in ends))
    low, high = min(ends) - MARGIN * span, max(ends) + MARGIN * span

    def down(value: float) -> float:
        at = min(100.0, max(0.0, percent(value - low, high - low)))
        return round(100 - at if share else at, 3)

    marks = tuple(
        Tick(round(100 - mark.at if share else mark.at, 3), f"{mark.label}{'%' if share else ''}")
        for mark in ticks(low, high, 5)
    )
    return _Up(
        metric_name(found[0].metric),
        [-value if share else value for value in values],
        [down(value) for value in values],
        [None if interval is None else (down(interval[0]), down(interval[1])) for interval in intervals],
        marks,
    )


def _scaled(interval: Interval | None, factor: float) -> tuple[float, float] | None:
    return None if interval is None else (factor * interval.low, factor * interval.high)
