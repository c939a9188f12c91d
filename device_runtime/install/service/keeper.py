"""Who keeps an application running: systemd, a user's systemd, or a process of our own where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional, Protocol

from device_runtime.contract.service import ServiceSpec


@dataclass(frozen=True)
class Account:
    """Whom a release runs as: its code never runs as root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Kept:
    """What a keeper sees of the application.

    ``state`` is ``starting`` until it said that it is ready (its first prediction), then ``running``. ``pid`` is 0
    where none runs. ``restarts`` counts those since the last ``restart`` by hand. ``ended`` says how it last ended:
    empty, ``exit CODE``, a signal's name, ``out-of-memory``, ``watchdog``, ``start-timeout``; ``detail`` is what the
    keeper has to say for people.
    """

    state: Literal["running", "starting", "stopped", "failed"]
    pid: int = 0
    restarts: int = 0
    ended: str = ""
    detail: str = ""


class Keeper(Protocol):
    """Keeps ``ROOT/current`` running through ``launch``. Every method may raise EdgeError when it cannot."""

    @property
    def kind(self) -> Literal["systemd", "systemd-user", "process"]:
        """What it is, as ``ServiceStatus`` says it."""

    @property
    def account(self) -> Optional[Account]:
        """Whom releases run as, made where it is missing; None: the one who installs."""

    @property
    def pulse(self) -> Path:
        """Where the application writes its pulse."""

    def prepare(self, service: ServiceSpec) -> None:
        """Write what keeps a release with these settings running, where it differs from what is there."""

    def notices(self, service: ServiceSpec) -> tuple[str, ...]:
        """Return what this machine cannot do of what a service asks for, in words for people."""

    def restart(self) -> None:
        """Start what ``current`` points to anew, with all counters at 0; it is not waited for."""

    def stop(self) -> None:
        """Stop it, and wait until it has ended."""

    def look(self) -> Kept:
        """Tell how it is."""

    def machine_stops(self) -> bool:
        """Return whether the machine is going down, as far as it knows."""

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - as in Application
        """Yield the last ``lines`` of its log, and with ``follow`` those that come, without end."""

    def last_words(self, lines: int) -> list[str]:
        """Return up to ``lines`` last lines that the application itself wrote since it was started last."""

    def remove(self) -> None:
        """Stop it, and take away all that ``prepare`` wrote. Doing it twice is fine."""
