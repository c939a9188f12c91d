"""How a board is doing, in a word, from what it says of itself: a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from device_runtime.contract.status import BoardStatus, ServiceStatus

Word = Literal["healthy", "starting", "installed", "failing", "stopped", "safe mode", "nothing installed"]


@dataclass(frozen=True)
class Health:
    """How a board is doing: a word, and why. ``ok`` is what a script would want to know.

    ``installed`` is a release of a folder, from which nothing runs by itself.
    """

    ok: bool
    word: Word
    reasons: tuple[str, ...] = ()


def health_of(status: BoardStatus) -> Health:
    """Return how the board of ``status`` is doing."""
    if status.safe_mode:
        return Health(ok=False, word="safe mode", reasons=(f"{status.safe_mode.reason} ({status.safe_mode.code})",))
    if status.current is None:
        return Health(ok=False, word="nothing installed")
    if status.service is None or status.service.kind == "none":
        return Health(ok=True, word="installed")
    return _of_service(status.service)


def _of_service(service: ServiceStatus) -> Health:
    detail = (service.detail,) if service.detail else ()
    if service.state == "failed":
        return Health(ok=False, word="failing", reasons=detail or ("its service failed",))
    if service.state == "stopped":
        return Health(ok=False, word="stopped", reasons=detail)
    pulse = service.pulse
    if pulse is not None and pulse.health == "failing":
        return Health(ok=False, word="failing", reasons=pulse.reasons or detail)
    if service.state == "starting" or pulse is None or pulse.health == "starting":
        return Health(ok=True, word="starting", reasons=(pulse.reasons if pulse else ()) or detail)
    return Health(ok=True, word="healthy", reasons=pulse.reasons)
