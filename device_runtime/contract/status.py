"""What an installer tells: its state on disk, a board's status, the result of a command, and the lines it prints."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Optional, Union

from device_runtime.contract.decode import decode, encode
from device_runtime.contract.events import Event, LogLine, Notice, Progress, Step
from device_runtime.contract.pulse import Pulse
from device_runtime.contract.reported import ReportedError
from device_runtime.errors import BadFileError

STATE_SCHEMA = 1
STATUS_SCHEMA = 1
JOURNAL_SCHEMA = 1


class Outcome(str, enum.Enum):
    """What a command of the installer did."""

    INSTALLED = "installed"
    UNCHANGED = "unchanged"
    REPAIRED = "repaired"
    RETURNED = "returned"
    INTACT = "intact"
    RECOVERED = "recovered"
    REMOVED = "removed"


@dataclass(frozen=True)
class Trial:
    """A release that is being tried: its id, the one to return to (None: there was none), and since when (UTC).

    ``attempts`` counts the boots that it had: a reboot in the middle goes on with the trial, a few times. ``boot`` is
    the last of them, as Linux names it (boot_id of random(4)); it is empty where a trial does not outlive a boot.
    """

    release: str
    replaces: Optional[str]
    started: str
    attempts: int = 1
    boot: str = ""


@dataclass(frozen=True)
class BadRelease:
    """A release that failed on this board, and is not tried again unasked: why (code, reason), and when (UTC)."""

    release: str
    code: str
    reason: str
    at: str


@dataclass(frozen=True)
class SafeMode:
    """Nothing runs, on purpose: why (code, reason), and since when (UTC). The next deployment ends it."""

    code: str
    reason: str
    at: str


@dataclass(frozen=True)
class InstallState:
    """``state.json``: the decisions of the installer. The links ``current`` and ``previous`` follow it.

    ``committed`` is the release that proved itself, ``fallback`` the one before it; both are release ids.
    ``sequences`` has the highest sequence that was committed of each application: by its name. ``restart`` tells that
    another release than ``current`` names may still run: whoever was to start it anew may have been killed.
    """

    committed: Optional[str] = None
    fallback: Optional[str] = None
    trial: Optional[Trial] = None
    bad: tuple[BadRelease, ...] = ()
    sequences: dict[str, int] = field(default_factory=dict)
    safe_mode: Optional[SafeMode] = None
    restart: bool = False
    schema: int = STATE_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > STATE_SCHEMA:
            raise ValueError(f"schema: this installer knows up to {STATE_SCHEMA}, got {self.schema}; update edgekit")

    @property
    def wanted(self) -> Optional[str]:
        """The release that ``current`` is to name: one on trial, else what is committed; none in safe mode."""
        if self.trial is not None:
            return self.trial.release
        return None if self.safe_mode is not None else self.committed

    def bad_release(self, release: str) -> Optional[BadRelease]:
        """Return why ``release`` is quarantined, or None when it is not."""
        return next((bad for bad in self.bad if bad.release == release), None)


@dataclass(frozen=True)
class ReleaseInfo:
    """An installed release. ``role`` is ``current``, ``previous``, ``trial`` or ``kept``."""

    release: str
    name: str
    version: str
    role: str
    installed: str = ""


@dataclass(frozen=True)
class MachineFacts:
    """What a bundle must fit: machine (``x86_64``, ``aarch64``), python (``cp311``), glibc (``2.36``, or empty).

    ``board`` is what the machine calls itself (``Raspberry Pi 4 Model B Rev 1.5``), ``memory_bytes`` all of its memory;
    0 and an empty text are not known.
    """

    machine: str
    python: str
    glibc: str
    board: str = ""
    memory_bytes: int = 0


Scope = Literal["local", "system", "user"]
"""How releases run: not by themselves (a folder), as a service of the system, or as one of the user."""


@dataclass(frozen=True)
class ServiceStatus:
    """What runs from ``current``: who keeps it running, what that says of it, and what it says of itself.

    ``state`` is ``running``, ``starting``, ``stopped`` or ``failed``; ``restarts`` counts those since the last start
    by hand. ``pulse`` is missing until it first tells.
    """

    kind: Literal["systemd", "systemd-user", "process", "none"]
    state: Literal["running", "starting", "stopped", "failed"]
    restarts: int = 0
    detail: str = ""
    pulse: Optional[Pulse] = None


@dataclass(frozen=True)
class JournalEntry:
    """A line of ``journal.jsonl``: when (UTC), a reason code, which release, and the details in words."""

    at: str
    code: str
    release: Optional[str] = None
    message: str = ""
    schema: int = JOURNAL_SCHEMA


@dataclass(frozen=True)
class BoardStatus:
    """What is on a board. ``blobs`` are the digests that it has, so that only the others need be sent.

    ``busy`` tells that an installer is at work, and that what is said here may change at once. ``incoming`` has the
    bytes that came of blobs which are still on their way, by digest. ``installer_digest`` is that of the installer
    which answers. ``signed_only`` tells that the board trusts signers, and takes nothing but what they signed.
    ``journal`` has the last transitions, the oldest first.
    """

    root: str
    installer: int
    facts: MachineFacts
    free_bytes: int
    current: Optional[ReleaseInfo] = None
    previous: Optional[ReleaseInfo] = None
    trial: Optional[Trial] = None
    bad: tuple[BadRelease, ...] = ()
    releases: tuple[ReleaseInfo, ...] = ()
    blobs: tuple[str, ...] = ()
    busy: bool = False
    scope: Scope = "local"
    service: Optional[ServiceStatus] = None
    incoming: dict[str, int] = field(default_factory=dict)
    installer_digest: str = ""
    signed_only: bool = False
    sequences: dict[str, int] = field(default_factory=dict)
    safe_mode: Optional[SafeMode] = None
    journal: tuple[JournalEntry, ...] = ()
    schema: int = STATUS_SCHEMA

    def bad_release(self, release: str) -> Optional[BadRelease]:
        """Return why ``release`` is quarantined, or None when it is not."""
        return next((bad for bad in self.bad if bad.release == release), None)


@dataclass(frozen=True)
class InstallResult:
    """What a command did: the release that now runs (None: none), and the one that ran before.

    ``written_bytes`` are the blobs that the board lacked.
    """

    outcome: Outcome
    current: Optional[ReleaseInfo] = None
    previous: Optional[ReleaseInfo] = None
    written_bytes: int = 0


@dataclass(frozen=True)
class BenchResult:
    """What a release's own harness measured: its ``report``, the text of a ``contract.bench.BenchReport``.

    ``release`` names what was measured, ``beside`` the application that ran at the same time, each with its version.
    """

    report: str
    release: str
    beside: Optional[str] = None


Answer = Union[InstallResult, BoardStatus, BenchResult]
_EVENTS: dict[str, type[Any]] = {"step": Step, "progress": Progress, "notice": Notice, "log": LogLine}
_RESULTS: dict[str, type[Any]] = {"result": InstallResult, "status": BoardStatus, "bench": BenchResult}


def encode_line(message: Union[Event, Answer, ReportedError]) -> str:
    """Return one line of JSON for an event, a final result or a final error."""
    for name, kind in _EVENTS.items():
        if isinstance(message, kind):
            return _line({"event": name, **encode(message)})
    for name, kind in _RESULTS.items():
        if isinstance(message, kind):
            return _line({name: encode(message)})
    return _line({"error": encode(message)})


def decode_line(line: str) -> Union[Event, Answer, ReportedError, None]:
    """Return what a line of the installer says, or None for an event that this reader does not know.

    Raises:
        BadFileError: it is no line of the installer.
    """
    where = "the installer's answer"
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{where}: expected a line of JSON, got {line[:200]!r}") from error
    if not isinstance(data, dict):
        raise BadFileError(f"{where}: expected a table, got {line[:200]!r}")
    if "event" in data:
        return _event(data, where)
    for name, kind in _RESULTS.items():
        if name in data:
            return decode(kind, data[name], where)  # type: ignore[no-any-return] # a table of kinds
    if "error" in data:
        return decode(ReportedError, data["error"], where)
    raise BadFileError(f"{where}: expected an event, a result or an error, got {line[:200]!r}")


def _event(data: dict[str, Any], where: str) -> Optional[Event]:
    if data["event"] == "step":
        return decode(Step, data, where)
    if data["event"] == "progress":
        return decode(Progress, data, where)
    if data["event"] == "log":
        return LogLine(str(data.get("text")))
    if data["event"] == "notice":
        return Notice(str(data.get("message")), "warning" if data.get("severity") == "warning" else "info")
    return None


def _line(data: dict[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, ensure_ascii=True, allow_nan=False)
