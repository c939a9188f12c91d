"""The geometry of a search report's figures: numbers in, positions in per cent of the plot area out. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from converters.choice import cost
from converters.interface import Candidate, SearchReport
from edgekit.reporting.axes import Tick, memory, milliseconds, percent, ticks
from edgekit.reporting.scatter import MARGIN, Label, cost_axis, place_labels, stairs

_WORTH_SHOWING = 5.0
"""Points of accuracy, or budgets, below the trained model from which a candidate is only marked at the edge."""

_SNR_END = 60.0
"""dB; above it a layer's error is that of rounding to 10 bits, and tells nothing."""

_SLIVER = 1.5
_FILLED = 0.86


@dataclass(frozen=True)
class Point:
    """One candidate, ``number`` in the table: ``x`` and ``y`` 0–100, y downwards.

    ``bar`` are the ends of the interval of its accuracy; ``beyond`` tells that it lies below the plot; ``label`` is
    where its number goes.
    """

    number: int
    kind: str
    x: float
    y: float
    bar: tuple[float, float] | None
    beyond: bool
    label: Label
    title: str


@dataclass(frozen=True)
class Pareto:
    """Accuracy against cost. ``frontier`` are the points ``x,y`` of its stairs; ``budget`` and ``baseline`` are y."""

    points: tuple[Point, ...]
    frontier: str
    budget: float
    baseline: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    x_title: str
    summary: str

    @property
    def beyond(self) -> bool:
        """Whether a candidate lies below the plot."""
        return any(point.beyond for point in self.points)


@dataclass(frozen=True)
class LayerBar:
    """The signal-to-noise ratio of one layer; positions and height 0–100 of the plot."""

    left: float
    width: float
    height: float
    guilty: bool
    title: str


@dataclass(frozen=True)
class LayerChart:
    """All layers in the order of computation."""

    bars: tuple[LayerBar, ...]
    ticks: tuple[Tick, ...]
    summary: str


def pareto(report: SearchReport) -> Pareto | None:
    """Return the plot of all candidates with an accuracy and a cost; None when there is none."""
    objective = report.options.optimize
    shown = [
        (number, each, cost(each, objective))
        for number, each in enumerate(report.candidates, start=1)
        if each.metric is not None and math.isfinite(cost(each, objective)) and cost(each, objective) > 0
    ]
    if not shown:
        return None
    across, x_ticks = _cost_axis([price for _, _, price in shown], objective)
    down, y_ticks, lowest = _accuracy_axis(report, [each for _, each, _ in shown])
    places = [(across(price), down(100 * (each.metric or 0.0))) for _, each, price in shown]
    labels = place_labels(places)
    points = tuple(
        Point(
            number,
            _kind(each, report.chosen),
            x,
            y,
            _bar(each, report.baseline, down),
            100 * (each.metric or 0.0) < lowest,
            label,
            f"{each.name}: {100 * (each.metric or 0.0):.2f}%, {written(price, objective)}",
        )
        for (number, each, price), (x, y), label in zip(shown, places, labels, strict=True)
    )
    frontier = sorted(place for place, (_, each, _) in zip(places, shown, strict=True) if each.on_frontier)
    what = "size" if objective == "size" else "latency"
    return Pareto(
        points,
        stairs(frontier),
        down(100 * report.baseline - report.options.max_drop),
        down(100 * report.baseline),
        x_ticks,
        y_ticks,
        "size of the file" if objective == "size" else "ms per inference, one thread, slowest runtime",
        f"Accuracy against {what} of {len(points)} candidates",
    )


def layer_chart(report: SearchReport) -> LayerChart | None:
    """Return the chart of the layers' errors; None when they were not measured."""
    if not report.layers:
        return None
    high = min(_SNR_END, max(10.0, *(layer.snr_db for layer in report.layers)))
    width = 100 / len(report.layers)
    bars = tuple(
        LayerBar(
            round(index * width, 3),
            round(_FILLED * width, 3),
            max(_SLIVER, percent(min(max(layer.snr_db, 0.0), high), high)),
            layer.title in report.guilty,
            f"{layer.title}: {layer.snr_db:.1f} dB, cosine {layer.cosine:.4f}",
        )
        for index, layer in enumerate(report.layers)
    )
    worst = min(report.layers, key=lambda layer: layer.snr_db)
    summary = f"Signal to noise of {len(bars)} layers, least {worst.snr_db:.1f} dB in {worst.title}"
    return LayerChart(bars, ticks(0, high, 4), summary)


def written(price: float, objective: str) -> str:
    """Return a candidate's cost in words."""
    return memory(round(price)) if objective == "size" else f"{milliseconds(price)} ms"


def _kind(candidate: Candidate, chosen: str | None) -> str:
    if candidate.name == chosen:
        return "chosen"
    return "kept" if candidate.status == "ok" else "missed"


def _cost_axis(prices: Sequence[float], objective: str) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    """Return the function from a cost to its place, and the marks."""
    if objective != "size":
        return cost_axis(prices)
    large = max(prices) >= 1e6
    return cost_axis(prices, 1e6 if large else 1e3, " MB" if large else " KB")


def _accuracy_axis(
    report: SearchReport, candidates: Sequence[Candidate]
) -> tuple[Callable[[float], float], tuple[Tick, ...], float]:
    """Return the function from an accuracy in per cent to its place, the marks, and where the axis begins.

    A candidate that lost far more than anybody wants would press all others into one line: it is left below.
    """
    baseline, budget = 100 * report.baseline, report.options.max_drop
    values = [100 * (each.metric or 0.0) for each in candidates]
    floor = baseline - max(_WORTH_SHOWING, _WORTH_SHOWING * budget)
    near = [value for value in values if value >= floor] + [baseline, baseline - budget]
    bars = [each.drop for each in candidates if each.drop is not None and baseline - each.drop.value >= floor]
    near += [min(100.0, max(floor, baseline - end)) for bar in bars for end in (bar.low, bar.high)]
    span = max(max(near) - min(near), 0.5)
    low, high = min(near) - MARGIN * span, max(near) + MARGIN * span

    def down(value: float) -> float:
        return round(100 - percent(min(max(value, low), high) - low, high - low), 3)

    marks = tuple(Tick(round(100 - mark.at, 3), f"{mark.label}%") for mark in ticks(low, high, 5))
    return down, marks, low


def _bar(candidate: Candidate, baseline: float, down: Callable[[float], float]) -> tuple[float, float] | None:
    if candidate.drop is None:
        return None
    return down(100 * baseline - candidate.drop.low), down(100 * baseline - candidate.drop.high)
