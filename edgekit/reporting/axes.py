"""Round marks on the axes of figures, and how numbers are written: positions are per cent of the plot area."""

from __future__ import annotations

import math
from dataclasses import dataclass

UNKNOWN = "–"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: ``at`` is 0–100 along it."""

    at: float
    label: str


def milliseconds(value: float) -> str:
    """Return a latency for people, with three significant digits: ``0.358``, ``12.4``, ``1230``."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def memory(count: int) -> str:
    """Return a number of bytes in MB (powers of 1000), or KB where that says more."""
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.0f} KB" if count >= 1e5 else f"{count / 1e3:.1f} KB"


def nice_step(span: float, count: int) -> float:
    """Return a step of 1, 2, 2.5 or 5 times a power of ten that divides ``span`` into at most ``count`` parts."""
    raw = max(span, 1e-9) / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))


def ticks(low: float, high: float, count: int) -> tuple[Tick, ...]:
    """Return round marks from ``low`` to ``high``."""
    step = nice_step(high - low, count)
    power = math.floor(math.log10(step) + 1e-9)
    digits = max(0, -power + (1 if math.isclose(step / 10.0**power, 2.5) else 0))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(
        Tick(percent(number * step - low, high - low), f"{number * step:,.{digits}f}")
        for number in range(first, last + 1)
    )


def percent(part: float, whole: float) -> float:
    """Return ``part`` of ``whole`` in per cent, to three decimals; 0 of nothing."""
    return round(100 * part / whole, 3) if whole > 0 else 0.0
