"""How a running application is doing: what its page, ``/status.json`` and ``edgekit monitor`` show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Optional

from device_runtime.contract.prediction import Prediction, RuleEvent

LIVE_SCHEMA = 1


@dataclass(frozen=True)
class StageWindow:
    """A stage's latency over the last 5 s, in ms."""

    mean: float
    p50: float
    p95: float


@dataclass(frozen=True)
class SinkStatus:
    """What a sink did: predictions that it took, those that were dropped because it was slow, and those it lost.

    ``error`` is the last failure, None when the sink works.
    """

    taken: int
    dropped: int
    failed: int
    error: Optional[str] = None


@dataclass(frozen=True)
class LiveStatus:
    """The state of a running application. Times in ms unless the name says otherwise.

    ``health`` is ``starting`` before the first prediction, ``ok`` while predictions come, ``failing`` when none do;
    ``reasons`` say what is wrong. ``frames`` counts by outcome since the start: ``predicted``, ``dropped`` (nobody
    took them in time) and ``damaged`` (they could not be decoded). ``age_ms`` is from a frame's capture to its decoded
    prediction. ``camera`` is ``ok``, ``lost`` (it is being reopened) or ``ended``. ``throttled`` has the bits of
    ``vcgencmd get_throttled``. ``history`` has a number for each of the last 60 whole seconds, the oldest
    first: ``fps``, ``dropped``, and each stage's mean in ms (0 where nothing was predicted).
    """

    at: str
    uptime_s: float
    model: str
    engine: str
    source: str
    camera: Literal["ok", "lost", "ended"]
    health: Literal["starting", "ok", "failing"]
    reasons: tuple[str, ...]
    fps: float
    workers: int
    frames: dict[str, int]
    stages_ms: dict[str, StageWindow]
    release: Optional[str] = None
    age_ms: Optional[StageWindow] = None
    sinks: dict[str, SinkStatus] = field(default_factory=dict)
    viewers: int = 0
    reopened: int = 0
    temperature_c: Optional[float] = None
    throttled: Optional[int] = None
    rss_bytes: Optional[int] = None
    cpu_percent: Optional[float] = None
    last: Optional[Prediction] = None
    events: tuple[RuleEvent, ...] = ()
    history: dict[str, tuple[float, ...]] = field(default_factory=dict)
    schema: int = LIVE_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > LIVE_SCHEMA:
            raise ValueError(f"schema: this reader knows up to {LIVE_SCHEMA}, got {self.schema}; update edgekit")
