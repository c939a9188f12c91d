"""What a model said of one frame, and what rules made of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, Optional, Protocol

from device_runtime.contract.decode import IN_MEMORY, encode

STAGES = ("capture", "prepare", "invoke", "decode", "total")
"""What is timed, per frame. ``total`` runs from the frame's capture to its decoded prediction."""

DRAW = "draw"
"""The stage that is measured only when it is asked for: a picture of the frame with what was found in it."""

POSE_LABEL = "person"
"""What a pose is of: its model's labels name the points, not the objects."""


@dataclass(frozen=True)
class Item:
    """One class, object, pose or number; what its task does not give is None.

    ``score`` (0–1) is that of a class or object. ``box`` is (x1, y1, x2, y2) in frame pixels, x to the right and y
    down. ``points`` are a pose's, each (x, y, score) with x and y in frame pixels, in the order of the model's labels.
    ``track`` is the number that an object keeps from frame to frame, from 1 on. ``area`` is the share (0–1) that a
    segmented class covers of what the model saw of the frame. ``value`` is a number that a regression gives, in the
    unit of its training.
    """

    index: int
    label: str
    score: Optional[float] = None
    box: Optional[tuple[float, float, float, float]] = None
    points: Optional[tuple[tuple[float, float, float], ...]] = None
    track: Optional[int] = None
    area: Optional[float] = None
    value: Optional[float] = None


@dataclass(frozen=True)
class RuleEvent:
    """A rule began to hold, or ceased to.

    ``id`` is the same for an event's begin and end, and different from all others of this board. ``at`` (UTC,
    ISO 8601) and ``frame_index`` are of the frame with which it began, or of the last one in which it held.
    ``dwell_s`` is how long it has held, from the first frame in which it did. ``item`` is what fulfilled the rule: at
    the beginning, or as it was last seen.
    """

    id: str
    rule: str
    phase: Literal["begin", "end"]
    at: str
    frame_index: int
    item: Item
    region: Optional[str] = None
    dwell_s: float = 0.0


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
    events: tuple[RuleEvent, ...] = ()
    mask: Optional[FrameMask] = field(default=None, compare=False, repr=False, metadata={IN_MEMORY: True})

    @property
    def closing(self) -> bool:
        """Whether it only ends events, because the run ends: it comes after that of the same frame."""
        return bool(self.events) and not self.timings_ms


def json_line(value: object) -> str:
    """Return one line of JSON, without the line's end, of a dataclass; fields that are None are left out."""
    return json.dumps(_present(encode(value)), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _present(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _present(value) for key, value in data.items() if value is not None}
    return [_present(value) for value in data] if isinstance(data, list) else data
