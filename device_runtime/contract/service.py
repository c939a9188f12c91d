"""How an application runs on a board: ``[service]`` of edgekit.toml, and ``service.json`` of a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Optional

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Region:
    """A polygon in the frame: three corners (x, y) or more, in order, each 0–1 of the frame's width and height.

    With ``size`` (width, height in px) the corners are pixels of a picture of that size, whatever size frames have.
    """

    points: tuple[tuple[float, float], ...]
    size: Optional[tuple[int, int]] = None

    def __post_init__(self) -> None:
        if len(self.points) < 3:
            raise ValueError(f"points: expected 3 corners or more, got {len(self.points)}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size: expected a width and a height of 1 px or more, got {list(self.size)}")
        width, height = self.size or (1, 1)
        for x, y in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                unit = f"pixels of {width}x{height}" if self.size else "0–1 of the frame (pixels need size)"
                raise ValueError(f"points: expected {unit}, got [{x:g}, {y:g}]: outside the frame")
        if _area(self.corners) == 0.0:
            raise ValueError("points: expected a polygon with an area, got corners on one line")

    @property
    def corners(self) -> tuple[tuple[float, float], ...]:
        """The corners as fractions (0–1) of the frame."""
        width, height = self.size or (1, 1)
        return tuple((x / width, y / height) for x, y in self.points)


@dataclass(frozen=True)
class Rule:
    """What turns predictions into an event.

    It holds while an item has one of ``labels`` (none: any), a score of ``score`` or more, and its ``anchor`` (the
    centre of its box, or the middle of the box's lower side) in ``region`` (none: anywhere); the event begins once it
    has held for ``dwell_s``. With tracking each object has its own dwell time. After an event's end the rule rests for
    ``pause_s``.
    """

    name: str
    labels: tuple[str, ...] = ()
    score: float = 0.0
    region: Optional[str] = None
    anchor: Literal["center", "bottom"] = "center"
    dwell_s: float = 0.0
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        if not 0 <= self.score <= 1:
            raise ValueError(f"score: expected 0–1, got {self.score:g}")
        for name in ("dwell_s", "pause_s"):
            if not 0 <= getattr(self, name) <= 86400:
                raise ValueError(f"{name}: expected 0–86400 s, got {getattr(self, name):g}")


@dataclass(frozen=True)
class PageSpec:
    """The live page. Beyond this machine (``host`` other than loopback) it needs a token.

    ``token_file`` holds it; the environment's ``EDGEKIT_PAGE_TOKEN`` comes before. ``names`` are further host names by
    which browsers may call the board. At most ``viewers`` see the video at once, with up to ``fps`` pictures a second
    of at most ``width`` px.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token_file: Optional[str] = None
    names: tuple[str, ...] = ()
    viewers: int = 8
    fps: float = 10.0
    width: int = 640

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: expected 0–65535, got {self.port}")
        if not 1 <= self.viewers <= 100:
            raise ValueError(f"viewers: expected 1–100, got {self.viewers}")
        if not 0 < self.fps <= 60:
            raise ValueError(f"fps: expected more than 0 and at most 60, got {self.fps:g}")
        if not 64 <= self.width <= 4096:
            raise ValueError(f"width: expected 64–4096 px, got {self.width}")


@dataclass(frozen=True)
class JsonLinesSpec:
    """Predictions or events as JSON lines in a file; anew at half of ``budget_mb``, with one old one kept."""

    path: str
    what: Literal["events", "predictions"] = "predictions"
    budget_mb: int = 50

    def __post_init__(self) -> None:
        _check_budget(self.budget_mb)


@dataclass(frozen=True)
class MqttSpec:
    """An MQTT broker, told of events, or of every prediction. ``password_file`` holds the password."""

    host: str
    topic: str
    port: int = 1883
    what: Literal["events", "predictions"] = "events"
    username: Optional[str] = None
    password_file: Optional[str] = None
    tls: bool = False
    ca_file: Optional[str] = None
    qos: Literal["0", "1"] = "0"

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port: expected 1–65535, got {self.port}")
        if not self.topic or any(letter in self.topic for letter in "+#\0"):
            raise ValueError(f"topic: expected a topic without wildcards, got {self.topic!r}")


@dataclass(frozen=True)
class WebhookSpec:
    """A URL that JSON is posted to. ``token_file`` holds a token for ``Authorization: Bearer``."""

    url: str
    what: Literal["events", "predictions"] = "events"
    token_file: Optional[str] = None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url: expected http://… or https://…, got {self.url!r}")
        if not 0 < self.timeout_s <= 60:
            raise ValueError(f"timeout_s: expected more than 0 and at most 60 s, got {self.timeout_s:g}")


@dataclass(frozen=True)
class SnapshotSpec:
    """Pictures of events, annotated; the oldest make room for new ones."""

    folder: str
    budget_mb: int = 200

    def __post_init__(self) -> None:
        _check_budget(self.budget_mb)


@dataclass(frozen=True)
class ClipSpec:
    """Videos of events, annotated, from ``before_s`` before the beginning to ``after_s`` after it."""

    folder: str
    before_s: float = 3.0
    after_s: float = 5.0
    budget_mb: int = 1000

    def __post_init__(self) -> None:
        _check_budget(self.budget_mb)
        for name, largest in (("before_s", 30), ("after_s", 300)):
            if not 0 <= getattr(self, name) <= largest:
                raise ValueError(f"{name}: expected 0–{largest} s, got {getattr(self, name):g}")


@dataclass(frozen=True)
class ServiceSpec:
    """How the application runs on the board.

    ``workers`` run frames at the same time, each with ``threads`` of its own; 0 is as many as the cores are good for.
    ``fps`` and ``format`` (as ``MJPG``) are asked of a V4L2 camera, ``size`` (width, height) of any camera.
    """

    source: str = "v4l2:0"
    engine: str = "auto"
    threads: int = 1
    workers: int = 0
    size: Optional[tuple[int, int]] = None
    fps: Optional[float] = None
    format: Optional[str] = None
    tracking: bool = False
    regions: dict[str, Region] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    page: Optional[PageSpec] = None
    jsonl: Optional[JsonLinesSpec] = None
    mqtt: Optional[MqttSpec] = None
    webhook: Optional[WebhookSpec] = None
    snapshots: Optional[SnapshotSpec] = None
    clips: Optional[ClipSpec] = None

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= 64:
            raise ValueError(f"workers: expected 0–64, got {self.workers}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size: expected a width and a height of 1 px or more, got {list(self.size)}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"fps: expected more than 0 and at most 1000, got {self.fps:g}")
        for name in self.regions:
            _check_name("regions", name)
        seen = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f'rules: two are named "{rule.name}"')
            seen.add(rule.name)
            if rule.region is not None and rule.region not in self.regions:
                known = ", ".join(sorted(self.regions)) or "none"
                raise ValueError(f'rule "{rule.name}": expected one of the regions ({known}), got "{rule.region}"')


def _check_name(where: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: expected letters, digits, '.', '_', '-', at most 64, got {name!r}")


def _check_budget(budget_mb: int) -> None:
    if budget_mb < 1:
        raise ValueError(f"budget_mb: expected 1 MB or more, got {budget_mb}")


def _area(corners: tuple[tuple[float, float], ...]) -> float:
    """Return twice the area of a polygon (the shoelace formula)."""
    following = corners[1:] + corners[:1]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, following)))
