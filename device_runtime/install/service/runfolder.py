"""``ROOT/run``: what a supervisor and those who ask for it say to each other, through files."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Optional

from device_runtime.contract.decode import dumps, read_json
from device_runtime.errors import EdgeError
from device_runtime.install.lock import BRIEF_S, BusyError
from device_runtime.install.root import Root
from device_runtime.install.service.keeper import Kept
from device_runtime.install.service.processes import boot_id, started_at

_POLL_S = 0.05
_HOLDER_BYTES = 40


@dataclass(frozen=True)
class Record:
    """``service.json``: what a supervisor knows. ``pid`` is the application's, 0 where none runs.

    ``boot`` names the boot in which it was written, ``account`` whom releases run as; empty: the one who supervises.
    """

    state: Literal["running", "starting", "stopped", "failed"]
    pid: int = 0
    restarts: int = 0
    ended: str = ""
    detail: str = ""
    boot: str = ""
    account: str = ""

    def kept(self) -> Kept:
        """Return what of it a keeper tells."""
        return Kept(self.state, self.pid, self.restarts, self.ended, self.detail)


@dataclass(frozen=True)
class RunFolder:
    """Its names. It belongs to the one who supervises; the application writes in ``application`` alone."""

    root: Root

    @property
    def path(self) -> Path:
        """The folder."""
        return self.root.path / "run"

    @property
    def application(self) -> Path:
        """The folder of the account that releases run as."""
        return self.path / "application"

    @property
    def pulse(self) -> Path:
        """What the application says of itself."""
        return self.application / "pulse.json"

    @property
    def lock(self) -> Path:
        """The file with the supervisor's pid, whose lock it holds: who can take it knows that there is none."""
        return self.path / "supervisor.pid"

    @property
    def log(self) -> Path:
        """What the application prints; ``service.1.log`` is the part before."""
        return self.path / "service.log"

    @property
    def record_file(self) -> Path:
        """Where the ``Record`` is."""
        return self.path / "service.json"

    def record(self) -> Optional[Record]:
        """Return what was written last, or None where there is nothing to be read."""
        try:
            return read_json(Record, self.record_file)
        except EdgeError:
            return None

    def write(self, record: Record) -> None:
        """Replace the record by one of this boot. It is not flushed: after a power cut nothing runs. Raises OSError."""
        whole = replace(record, boot=boot_id())
        beside = self.path / ".service.json.new"
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(dumps(whole))
        beside.replace(self.record_file)

    def supervised(self) -> bool:
        """Return whether a supervisor is there, or on its way. Who may only read may ask, too."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def sign(self, descriptor: int) -> None:
        """Say in the lock's file who holds it: in place, which also a full disk lets us do."""
        pid = os.getpid()
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, f"{pid} {started_at(pid)}".ljust(_HOLDER_BYTES).encode(), 0)

    def holder(self) -> tuple[int, str]:
        """Return who signed last: a pid and its start, which together name one process for ever; 0 for nobody."""
        try:
            pid, started = self.lock.read_text(encoding="ascii").split()
            return int(pid), started
        except (OSError, ValueError):
            return 0, ""

    def take(self, wait_s: float = BRIEF_S) -> int:
        """Take the supervisor's lock, and return the descriptor that holds it, also when a child inherits it.

        Raises:
            BusyError: a supervisor held it for all of ``wait_s``.
            OSError: the folder is missing, or refuses.
        """
        until = time.monotonic() + wait_s
        while True:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), self.lock.stat()):
                    return descriptor
            except BlockingIOError:
                pass
            except FileNotFoundError:
                pass  # removed while we took it: a newcomer would take another file
            os.close(descriptor)
            if time.monotonic() >= until:
                raise BusyError(f"{self.root.path}: a supervisor runs already", hint="see: edgekit status")
            time.sleep(_POLL_S)
