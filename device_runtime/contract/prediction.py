"""What a model said of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

STAGES = ("capture", "prepare", "invoke", "decode", "total")
"""What is timed, per frame. ``total`` runs from the frame's capture to its decoded prediction."""


@dataclass(frozen=True)
class Item:
    """One class or object. ``box`` is (x1, y1, x2, y2) in frame pixels, x to the right and y down; None without."""

    index: int
    label: str
    score: float
    box: Optional[tuple[float, float, float, float]] = None


@dataclass(frozen=True)
class Prediction:
    """The answer for one frame: items by falling score. ``captured_ns`` is on the monotonic clock."""

    frame_index: int
    captured_ns: int
    items: tuple[Item, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
