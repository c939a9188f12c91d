"""Plots of things that are good against what they cost: axes, frontiers, and where the points' numbers go.

Positions are per cent of the plot area, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgekit.reporting.axes import Tick, percent, ticks

MARGIN = 0.08
"""What is left free between the outermost points and the plot's edge, of what the points span."""

_LOG_FROM = 6.0
"""A cost axis is logarithmic when costs differ by so much: an int16x8 model takes 30 times an int8 one's time."""

_LABEL, _POINT, _GAP = (6.0, 6.5), (2.2, 2.5), 2.7
"""Width and height of a point's number, half those of the point, and what is between: per cent of a plot on a phone
(250 x 230 px), where they are largest."""


@dataclass(frozen=True)
class Label:
    """Where a number goes: beside ``x``, ``y``, to the ``left`` or the right; ``moved`` up or down from its point."""

    x: float
    y: float
    left: bool
    moved: bool


def cost_axis(
    prices: Sequence[float], unit: float = 1.0, name: str = ""
) -> tuple[Callable[[float], float], tuple[Tick, ...]]:
    """Return the function from a cost to its place, and the marks.

    Args:
        prices: at least one cost above 0.
        unit: what the marks count in: 1e6 for bytes in MB.
        name: what a mark's number is followed by.
    """
    low, high = min(prices) / unit, max(prices) / unit
    if high / low < _LOG_FROM:
        end = high * (1 + MARGIN)
        marks = tuple(Tick(mark.at, mark.label + name) for mark in ticks(0, end, 5))
        return lambda price: percent(price / unit, end), marks
    start, end = math.log10(low / 1.3), math.log10(high * 1.3)

    def at(value: float) -> float:
        return percent(math.log10(value) - start, end - start)

    decades = range(math.floor(start), math.ceil(end) + 1)
    values = [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
    marks = tuple(Tick(at(value), f"{value:g}{name}") for value in values if start <= math.log10(value) <= end)
    return lambda price: at(price / unit), marks


def stairs(places: Sequence[tuple[float, float]]) -> str:
    """Return the corners of the stairs through places by rising cost; each step goes right, then up."""
    corners: list[tuple[float, float]] = []
    for x, y in places:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)


def place_labels(places: Sequence[tuple[float, float]], lengths: Sequence[int] | None = None) -> list[Label]:
    """Return where the points' numbers go: right or left of them, or above or below, where there is room.

    Args:
        places: the points.
        lengths: how many characters each number has; 2 where nothing is said.
    """
    widths = [_LABEL[0] * max(2, length) / 2 for length in lengths or [2] * len(places)]
    taken = [_Box(x - _POINT[0], x + _POINT[0], y - _POINT[1], y + _POINT[1]) for x, y in places]
    found: dict[int, Label] = {}
    for index in sorted(range(len(places)), key=lambda index: places[index]):
        x, y = places[index]
        steps = [0.0, *(side * _LABEL[1] * step for step in range(1, len(places) + 1) for side in (-1, 1))]
        spots = [(step, left) for step in steps for left in (False, True) if 0 <= y + step <= 100]
        step, left = next(
            (spot for spot in spots if not _text_box(x, y, *spot, widths[index]).meets(taken)), (0.0, False)
        )
        taken.append(_text_box(x, y, step, left, widths[index]))
        found[index] = Label(x, round(y + step, 3), left, step != 0)
    return [found[index] for index in range(len(places))]


@dataclass(frozen=True)
class _Box:
    """A rectangle in the plot, per cent."""

    left: float
    right: float
    top: float
    bottom: float

    def meets(self, others: Sequence[_Box]) -> bool:
        """Whether it overlaps another one, or the plot's sides."""
        return self.left < -_GAP or any(
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
            for other in others
        )


def _text_box(x: float, y: float, step: float, left: bool, width: float) -> _Box:  # noqa: FBT001 - a spot is two plain values
    start, end = (x - _GAP - width, x - _GAP) if left else (x + _GAP, x + _GAP + width)
    return _Box(start, end, y + step - _LABEL[1] / 2, y + step + _LABEL[1] / 2)
