"""What runs from ``current``, as the installer sees it: can a release be proven, started, and given back."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol

from device_runtime.contract.status import ServiceStatus
from device_runtime.errors import EdgeError
from device_runtime.install.launch import release_command, release_environment
from device_runtime.install.service.keeper import Account
from device_runtime.signals import signal_name

CHECK_TIMEOUT_S = 120.0
"""Loading a large model on a slow card, with room to spare."""
_KEPT_BYTES = 65536
_POLL_S = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether a release does its work; if not, a reason code and the reason in words."""

    ok: bool
    code: str = ""
    reason: str = ""


class Application(Protocol):
    """What the installer asks of that which runs on the board."""

    def preflight(self, release: Path) -> Verdict:
        """Say whether a release that does not run yet would work; what runs meanwhile is left alone."""

    def start(self, current: Path) -> Verdict:
        """Let what ``current`` now points to run, and say whether it is healthy."""

    def watch(self, current: Path) -> Verdict:
        """Say whether what ``current`` points to is healthy, without starting it anew."""

    def prepare(self, current: Path) -> None:
        """See to it that what ``current`` points to is what a boot starts; nothing is started now. Raises EdgeError."""

    def resume(self, current: Path) -> None:
        """Let what ``current`` points to run again, after a release was taken back; nothing, when it is missing.

        Doing it twice is fine. Raises EdgeError.
        """

    def pause(self) -> None:
        """Stop what runs for a while, and wait for its end; how it is set up stays. Raises EdgeError."""

    def go_on(self) -> None:
        """Start what ``pause`` stopped, as it was set up; it is not waited for. Raises EdgeError."""

    def running(self) -> Optional[str]:
        """Return the id of the release that runs by itself, or None when that is not known."""

    def status(self) -> Optional[ServiceStatus]:
        """Tell how what runs is doing; None where nothing runs by itself."""

    def machine_stops(self) -> bool:
        """Return whether the machine is going down: what ends now, ends with it, and says nothing of a release."""

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - a word of the protocol
        """Yield the last ``lines`` of its log, and with ``follow`` those that come, without end. Raises EdgeError."""

    def remove(self) -> None:
        """Stop it, and take away what kept it running. Doing it twice is fine."""


class CheckedApplication:
    """A board on which nothing runs by itself: a release works when its own check passes, also through ``current``."""

    def __init__(self, timeout_s: float = CHECK_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def preflight(self, release: Path) -> Verdict:
        """Run the release's check where it lies."""
        return check_release(release, self._timeout_s)

    def start(self, current: Path) -> Verdict:
        """Run the release's check as anything that is started from now on will see it."""
        return check_release(current, self._timeout_s)

    def watch(self, current: Path) -> Verdict:
        """Do the same: nothing runs that could be watched."""
        return check_release(current, self._timeout_s)

    def prepare(self, current: Path) -> None:
        """Leave it at that: nothing is started at boot."""

    def resume(self, current: Path) -> None:
        """Leave it at that: whatever is started next follows ``current``."""

    def pause(self) -> None:
        """Leave it at that: nothing runs by itself."""

    def go_on(self) -> None:
        """Leave it at that: nothing was stopped."""

    def running(self) -> Optional[str]:
        """Tell of none: nothing runs by itself."""
        return None

    def status(self) -> Optional[ServiceStatus]:
        """Tell that nothing runs by itself."""
        return None

    def machine_stops(self) -> bool:
        """Return False: no trial goes on after a boot."""
        return False

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - a word of the protocol
        """Yield nothing: whoever starts a release has its log."""
        del lines, follow
        return iter(())

    def remove(self) -> None:
        """Leave it at that: nothing runs by itself."""


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code (negative: the signal; None: time ran out), and the ends of its outputs."""

    code: Optional[int]
    output: bytes
    errors: bytes

    @property
    def last_words(self) -> str:
        """The last line of its errors, after a colon; empty without one."""
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1].strip()[:500]}" if lines else ""


def check_release(release: Path, timeout_s: float, account: Optional[Account] = None) -> Verdict:
    """Run ``python -m device_runtime check`` of a release, in its own process, with its own import paths.

    Args:
        release: its folder.
        timeout_s: how long it may take.
        account: whom it runs as; None: who calls.

    Raises:
        EdgeError: it cannot be run as ``account``.
    """
    try:
        environment = release_environment(release, os.environ)
    except (OSError, UnicodeDecodeError) as error:
        return Verdict(ok=False, code="bad-release", reason=f"the release cannot be read: {error}")
    command = release_command(["check", "--release", str(release), "--json"])
    ended = run_program(command, release, environment, timeout_s, account)
    if ended.code is None:
        reason = f"its check did not end within {timeout_s:g} s{ended.last_words}"
        return Verdict(ok=False, code="check-timeout", reason=reason)
    return _judge(ended.code, ended)


def run_program(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    account: Optional[Account] = None,
) -> Ended:
    """Run a program in ``folder`` to its end, or to that of its time; then it is ended with all its children.

    Args:
        command: its words.
        folder: where it runs.
        environment: all of its environment, but who it is.
        timeout_s: how long it may take.
        account: whom it runs as; None: who calls.

    Raises:
        EdgeError: it cannot be run as ``account``.
    """
    process = start_program(command, folder, environment, account)
    try:
        return _watch(process, time.monotonic() + timeout_s)
    finally:
        end_program(process)


def start_program(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    account: Optional[Account] = None,
    groups: Sequence[int] = (),
    at_birth: Optional[Callable[[], None]] = None,
) -> subprocess.Popen[bytes]:
    """Start a program in ``folder``, in a session of its own, with pipes for what it says; as ``run_program``.

    ``groups`` are those that another account has besides its own; ``at_birth`` is called in the new process.
    """
    other = account if account is not None and account.uid != os.geteuid() else None
    options: dict[str, Any] = {}
    if other is not None:
        _require_reachable(folder.resolve(), other)
        options = {"user": other.uid, "group": other.gid, "extra_groups": list(groups)}
        environment = {**environment, "HOME": "/", "USER": other.name, "LOGNAME": other.name}
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=at_birth,  # noqa: PLW1509 - an installer has one thread
            **options,
        )
    except PermissionError as error:
        raise EdgeError(
            f"cannot run {command[0]} as {other.name if other else 'the one who installs'}: permission denied",
            hint=f"ls -l {command[0]}",
        ) from error


def _require_reachable(folder: Path, account: Account) -> None:
    """Raise EdgeError when ``account`` may not enter a folder: nothing is known against the release then."""
    for each in (folder, *folder.parents):
        found = each.stat()
        if found.st_uid == account.uid:
            entered = found.st_mode & 0o100
        elif found.st_gid == account.gid:
            entered = found.st_mode & 0o010
        else:
            entered = found.st_mode & 0o001
        if not entered:
            raise EdgeError(
                f"{each}: releases run as {account.name}, who may not enter this folder", hint=f"chmod o+x {each}"
            )


def _watch(process: subprocess.Popen[bytes], until: float) -> Ended:
    """Wait for the end. A flood of output is cut."""
    kept: dict[Any, bytes] = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ended = process.poll() is not None
            ready = selector.select(0 if ended else _POLL_S)
            if not ready and ended:
                break  # a grandchild may hold the pipes open for ever
            if time.monotonic() > until:
                return Ended(None, kept[process.stdout], kept[process.stderr])
            for key, _ in ready:
                piece = os.read(key.fd, _KEPT_BYTES)
                if not piece:
                    selector.unregister(key.fileobj)
                kept[key.fileobj] = (kept[key.fileobj] + piece)[-_KEPT_BYTES:]
    try:
        code = process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return Ended(None, kept[process.stdout], kept[process.stderr])
    return Ended(code, kept[process.stdout], kept[process.stderr])


def end_program(process: subprocess.Popen[bytes]) -> None:
    """End a program of ``start_program`` with all its children, and let go of its pipes."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _judge(code: int, ended: Ended) -> Verdict:
    if code < 0:
        reason = f"its check was killed by {signal_name(-code)}{ended.last_words}"
        return Verdict(ok=False, code="check-crashed", reason=reason)
    try:
        document = json.loads(ended.output)
    except (ValueError, RecursionError):
        document = None
    if code == 0 and isinstance(document, dict) and document.get("ok") is True:
        return Verdict(ok=True)
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        return Verdict(ok=False, code=str(error.get("code")), reason=str(error.get("message")))
    reason = f"its check ended with {code} and no verdict{ended.last_words}"
    return Verdict(ok=False, code="check-failed", reason=reason)
