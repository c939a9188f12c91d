"""How an application runs on a board: ``[service]`` of edgekit.toml, and ``service.json`` of a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal, Optional

from device_runtime.errors import UsageError

_PASSWORD = re.compile(r"://[^/?#]*:[^/?#]*@")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_CORNERS = 256
_LONGEST_TOPIC = 200


@dataclass(frozen=True)
class Region:
    """A polygon in the frame: three corners (x, y) or more, in order, each 0–1 of the frame's width and height.

    With ``size`` (width, height in px) the corners are pixels of a picture of that size, whatever size frames have.
    """

    points: tuple[tuple[float, float], ...]
    size: Optional[tuple[int, int]] = None

    def __post_init__(self) -> None:
        if not 3 <= len(self.points) <= _MOST_CORNERS:
            raise ValueError(f"points: expected 3–{_MOST_CORNERS} corners, got {len(self.points)}")
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
    centre of its box, or the middle of the box's lower side) in ``region`` (none: anywhere); ``area`` is the least
    share of the frame (0–1) of a segmented class. The event begins once it has held for ``dwell_s``. With tracking each
    object has its own dwell time, otherwise each class. After an event's end no other begins for ``pause_s``.
    """

    name: str
    labels: tuple[str, ...] = ()
    score: float = 0.0
    region: Optional[str] = None
    anchor: Literal["center", "bottom"] = "center"
    area: float = 0.0
    dwell_s: float = 0.0
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        for name in ("score", "area"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0–1, got {getattr(self, name):g}")
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
        _check_path("path", self.path)
        _check_budget(self.budget_mb)


@dataclass(frozen=True)
class MqttSpec:
    """An MQTT broker: events go to ``topic``/events, and with ``what = "predictions"`` predictions to its own topic.

    ``topic``/status says ``online`` or ``offline``. ``port`` is 1883 by default, with ``tls`` 8883. ``password_file``
    holds the password, ``ca_file`` the certificates to trust in place of the system's. ``qos`` is that of events:
    1 delivers them once or more, 0 at most once; predictions have 0.
    """

    host: str
    topic: str
    port: Optional[int] = None
    what: Literal["events", "predictions"] = "events"
    username: Optional[str] = None
    password_file: Optional[str] = None
    tls: bool = False
    ca_file: Optional[str] = None
    qos: Literal["0", "1"] = "1"

    def __post_init__(self) -> None:
        if not self.host or any(letter.isspace() or letter in "/@" for letter in self.host):
            raise ValueError(f"host: expected a name or an address, got {self.host!r}")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise ValueError(f"port: expected 1–65535, got {self.port}")
        if not 1 <= len(self.topic) <= _LONGEST_TOPIC or any(letter in self.topic for letter in "+#\0"):
            raise ValueError(f"topic: expected 1–{_LONGEST_TOPIC} letters without wildcards, got {self.topic!r}")
        if self.topic.startswith("$") or self.topic.endswith("/"):
            raise ValueError(f"topic: expected no $ at its beginning and no / at its end, got {self.topic!r}")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file: expected a username beside it")
        if self.ca_file is not None and not self.tls:
            raise ValueError("ca_file: expected tls = true beside it")


@dataclass(frozen=True)
class WebhookSpec:
    """A URL that JSON is posted to. ``token_file`` holds a token for ``Authorization: Bearer``."""

    url: str
    what: Literal["events", "predictions"] = "events"
    token_file: Optional[str] = None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        _check_url(self.url)
        if not 0 < self.timeout_s <= 60:
            raise ValueError(f"timeout_s: expected more than 0 and at most 60 s, got {self.timeout_s:g}")


@dataclass(frozen=True)
class SnapshotSpec:
    """Pictures of events, annotated; the oldest make room for new ones."""

    folder: str
    budget_mb: int = 200

    def __post_init__(self) -> None:
        _check_path("folder", self.folder)
        _check_budget(self.budget_mb)


@dataclass(frozen=True)
class ClipSpec:
    """Videos of events, annotated, from ``before_s`` before the beginning to ``after_s`` after it."""

    folder: str
    before_s: float = 3.0
    after_s: float = 5.0
    budget_mb: int = 1000

    def __post_init__(self) -> None:
        _check_path("folder", self.folder)
        _check_budget(self.budget_mb)
        for name, largest in (("before_s", 30), ("after_s", 300)):
            if not 0 <= getattr(self, name) <= largest:
                raise ValueError(f"{name}: expected 0–{largest} s, got {getattr(self, name):g}")


@dataclass(frozen=True)
class HealthSpec:
    """What a new release must show on a board before it stays.

    The first prediction within ``start_s``, then predictions for ``watch_s``, at ``min_fps`` or more, whose age's 95th
    percentile is ``max_p95_ms`` or less (None: any). An application that makes no progress for ``watchdog_s`` is
    started again.
    """

    start_s: float = 90.0
    watch_s: float = 10.0
    min_fps: float = 0.0
    max_p95_ms: Optional[float] = None
    watchdog_s: float = 30.0

    def __post_init__(self) -> None:
        for name, least, most in (("start_s", 1, 3600), ("watch_s", 0, 3600), ("watchdog_s", 5, 3600)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected {least}–{most} s, got {getattr(self, name):g}")
        if self.min_fps < 0:
            raise ValueError(f"min_fps: expected 0 or more, got {self.min_fps:g}")
        if self.max_p95_ms is not None and not self.max_p95_ms > 0:
            raise ValueError(f"max_p95_ms: expected more than 0 ms, got {self.max_p95_ms:g}")


@dataclass(frozen=True)
class ServiceSpec:
    """How the application runs on the board.

    ``delegate`` runs the model's operators: what the engine takes by itself, XNNPACK, or none but its own kernels.
    ``workers`` run frames at the same time, each with ``threads`` of its own; 0 is as many as the cores are good for.
    ``fps`` and ``format`` (as ``MJPG``) are asked of a V4L2 camera, ``size`` (width, height) of any camera. With
    ``tracking`` an object is new from a score of ``track_score`` on. As a service it may take ``memory_mb`` (None: all
    that the board has).
    """

    source: str = "v4l2:0"
    engine: str = "auto"
    threads: int = 1
    delegate: Literal["auto", "xnnpack", "none"] = "auto"
    workers: int = 0
    size: Optional[tuple[int, int]] = None
    fps: Optional[float] = None
    format: Optional[str] = None
    tracking: bool = False
    track_score: float = 0.5
    regions: dict[str, Region] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    page: Optional[PageSpec] = None
    jsonl: Optional[JsonLinesSpec] = None
    mqtt: Optional[MqttSpec] = None
    webhook: Optional[WebhookSpec] = None
    snapshots: Optional[SnapshotSpec] = None
    clips: Optional[ClipSpec] = None
    health: HealthSpec = field(default_factory=HealthSpec)
    memory_mb: Optional[int] = None

    def __post_init__(self) -> None:
        check_source(self.source)
        if self.memory_mb is not None and self.memory_mb < 64:
            raise ValueError(f"memory_mb: expected 64 MB or more, got {self.memory_mb}")
        if not 0 <= self.workers <= 64:
            raise ValueError(f"workers: expected 0–64, got {self.workers}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size: expected a width and a height of 1 px or more, got {list(self.size)}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"fps: expected more than 0 and at most 1000, got {self.fps:g}")
        if not 0 <= self.track_score <= 1:
            raise ValueError(f"track_score: expected 0–1, got {self.track_score:g}")
        for name in self.regions:
            _check_name("regions", name)
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f'rules: two are named "{rule.name}"')
            seen.add(rule.name)
            if rule.region is not None and rule.region not in self.regions:
                known = ", ".join(sorted(self.regions)) or "there is none"
                raise ValueError(
                    f'rule "{rule.name}": expected a region of [service.regions] ({known}), got "{rule.region}"'
                )


def is_loopback(host: str) -> bool:
    """Tell whether ``host``, in lower case and without brackets, can be reached from this machine alone."""
    import ipaddress  # noqa: PLC0415 - only for those who open something to others

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_source(source: str) -> None:
    """Raise ValueError for a source of frames that holds a password; it is not shown."""
    if _PASSWORD.search(source):
        raise ValueError(
            "source: expected a URL without a password, which others could read in files and process lists; "
            "it goes into the environment: EDGEKIT_RTSP_AUTH=USER:PASSWORD"
        )


def changed(service: ServiceSpec, **given: Any) -> ServiceSpec:
    """Return ``service`` with what a command line says in place; None leaves a field as it is.

    Raises:
        UsageError: it does not fit.
    """
    try:
        return replace(service, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from error


def parse_page(text: str, page: Optional[PageSpec] = None) -> PageSpec:
    """Return ``page``, or the default, with the address that ``[HOST:]PORT`` says.

    Raises:
        UsageError: it says no address.
    """
    host, _, port = text.rpartition(":")
    page = page or PageSpec()
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"page: expected PORT or HOST:PORT, got {text!r}", hint="--page 8080")
    return replace(page, host=host.strip("[]") or page.host, port=int(port))


def _check_name(where: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: expected letters, digits, '.', '_', '-', at most 64, got {name!r}")


def _check_path(where: str, path: str) -> None:
    parts = PurePosixPath(path).parts
    if not path or "\0" in path or ".." in parts:
        raise ValueError(f"{where}: expected a path without .., got {path!r}")


def _check_url(url: str) -> None:
    """Raise ValueError for what is no URL; one that holds a password is not shown."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only for those who have a webhook

    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or " " in url:
        shown = url.rpartition("@")[2]
        raise ValueError(f"url: expected http://… or https://… in ASCII, got {shown!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: expected no user and password in it; put a token into a file: token_file")


def _check_budget(budget_mb: int) -> None:
    if budget_mb < 1:
        raise ValueError(f"budget_mb: expected 1 MB or more, got {budget_mb}")


def _area(corners: tuple[tuple[float, float], ...]) -> float:
    """Return twice the area of a polygon (the shoelace formula)."""
    following = corners[1:] + corners[:1]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, following)))
