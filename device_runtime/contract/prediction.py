"""What a model said of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional, Protocol

from device_runtime.contract.decode import IN_MEMORY

STAGES = ("capture", "prepare", "invoke", "decode", "total")
"""What is timed, per frame. ``total`` runs from the frame's capture to its decoded prediction."""


@dataclass(frozen=True)
class Item:
    """One class, object or number; what its task does not give is None.

    ``score`` (0–1) is that of a class or object. ``box`` is (x1, y1, x2, y2) in frame pixels, x to the right and y
    down. ``area`` is the share (0–1) that a segmented class covers of what the model saw of the frame. ``value`` is a
    number that a regression gives, in the unit of its training.
    """

    index: int
    label: str
    score: Optional[float] = None
    box: Optional[tuple[float, float, float, float]] = None
    area: Optional[float] = None
    value: Optional[float] = None


class FrameMask(Protocol):
    """The class of each pixel of a frame."""

    def in_frame(self) -> Any:
        """Return (H, W) class ids of the frame's size; the dtype's highest value where the model did not see it."""


@dataclass(frozen=True)
class Prediction:
    """The answer for one frame. ``captured_ns`` is on the monotonic clock.

    Items stand by falling score, or by falling area, or in the order of the model's values. ``mask`` stays in memory:
    it is no part of the JSON.
    """

    frame_index: int
    captured_ns: int
    items: tuple[Item, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    mask: Optional[FrameMask] = field(default=None, compare=False, repr=False, metadata={IN_MEMORY: True})
