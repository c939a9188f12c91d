"""Polls a running application, and bears with it when it is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.decode import read_json
from device_runtime.contract.live import LiveStatus
from device_runtime.contract.manifest import RELEASE_SERVICE
from device_runtime.contract.service import PageSpec, ServiceSpec
from device_runtime.install.root import Root
from edgekit.boards.errors import UnreachableError
from edgekit.boards.target import LocalTarget
from edgekit.monitoring.client import PageClient

PATIENCE_S = 10.0
"""An application that answered before may be away for so long: it is restarted, or the network hiccups."""

Show = Callable[[LiveStatus, str], None]


@dataclass(frozen=True)
class Pace:
    """How often to ask, and how many times: without a ``count``, until the user has enough.

    ``patience_s`` is how long an application that answered before may be away.
    """

    interval_s: float = 1.0
    count: int | None = None
    patience_s: float = PATIENCE_S


def follow(client: PageClient, pace: Pace, show: Show) -> None:
    """Give each status to ``show``; while nothing answers, the last one again with what is wrong.

    Raises:
        UnreachableError: nothing answered at first, or for longer than the pace bears.
        EdgeError: see ``PageClient.status``.
    """
    last: LiveStatus | None = None
    reached = asked = time.monotonic()
    shown = 0
    while True:
        try:
            last = client.status()
            reached = time.monotonic()
            show(last, "")
            shown += 1
        except UnreachableError:
            away_s = time.monotonic() - reached
            if last is None or away_s > pace.patience_s:
                raise
            show(last, f"no answer for {away_s:.0f} s")
        if pace.count is not None and shown >= pace.count:
            return
        asked = max(asked + pace.interval_s, time.monotonic())
        time.sleep(max(0.0, asked - time.monotonic()))


def local_url(target: LocalTarget) -> str:
    """Return where the page of a folder's current release is. Raises BadFileError when its service is damaged."""
    service = current_service(target.root)
    page = (service.page if service else None) or PageSpec()
    host = "127.0.0.1" if page.host in ("0.0.0.0", "localhost") else page.host  # noqa: S104 - compared, not bound
    host = "[::1]" if host == "::" else f"[{host}]" if ":" in host else host
    return f"http://{host}:{page.port}/"


def current_service(root: Path) -> ServiceSpec | None:
    """Return how a folder's current release runs; None when there is no release."""
    file = Root(root).current / RELEASE_SERVICE
    return read_json(ServiceSpec, file) if file.is_file() else None
