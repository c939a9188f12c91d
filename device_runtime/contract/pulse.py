"""What a running application tells those who keep it running: a small file, written anew every second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

PULSE_FILE = "EDGEKIT_PULSE_FILE"
"""The environment variable that names the file; without it none is written."""


@dataclass(frozen=True)
class Pulse:
    """How an application is doing. ``release`` is the id of the release that runs, 64 hex digits, where it is one.

    ``health`` is as in ``LiveStatus``: ``starting`` before the first prediction, ``ok`` while predictions come,
    ``failing`` when none do; ``reasons`` say why. ``predictions`` and ``uptime_s`` are since its start; ``fps`` and
    ``p95_ms`` (the age of predictions) over the last 5 s. ``beat_s`` is when this was written, by the monotonic clock
    that all processes of a machine share: an old one tells of a process that hangs.
    """

    pid: int
    beat_s: float
    uptime_s: float
    health: Literal["starting", "ok", "failing"]
    reasons: tuple[str, ...] = ()
    predictions: int = 0
    fps: float = 0.0
    p95_ms: Optional[float] = None
    release: Optional[str] = None
