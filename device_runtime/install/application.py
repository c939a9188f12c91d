"""What runs from ``current``, as the installer sees it: can a release be proven, started, and given back."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol

from device_runtime.contract.status import ServiceStatus
from device_runtime.install.release import import_paths
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

    def resume(self, current: Path) -> None:
        """Let what ``current`` points to run again, after a release was taken back."""

    def status(self) -> Optional[ServiceStatus]:
        """Tell how what runs is doing; None where nothing runs by itself."""

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

    def resume(self, current: Path) -> None:
        """Leave it at that: whatever is started next follows ``current``."""

    def status(self) -> Optional[ServiceStatus]:
        """Tell that nothing runs by itself."""
        return None

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - a word of the protocol
        """Yield nothing: whoever starts a release has its log."""
        del lines, follow
        return iter(())

    def remove(self) -> None:
        """Leave it at that: nothing runs by itself."""


def check_release(release: Path, timeout_s: float) -> Verdict:
    """Run ``python -m device_runtime check`` of a release, in its own process, with its own import paths."""
    try:
        paths = import_paths(release)
    except (OSError, UnicodeDecodeError) as error:
        return Verdict(ok=False, code="bad-release", reason=f"the release cannot be read: {error}")
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "device_runtime", "check", "--release", str(release), "--json"]
    process = subprocess.Popen(
        command,
        cwd=release,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = _watch(process, time.monotonic() + timeout_s)
    finally:
        _end(process)
    if output is None:
        return Verdict(
            ok=False, code="check-timeout", reason=f"its check did not end within {timeout_s:g} s{_last(errors)}"
        )
    return _judge(process.returncode, output, errors)


def _watch(process: subprocess.Popen[bytes], until: float) -> tuple[Optional[bytes], bytes]:
    """Return the ends of both outputs; None for the first when time ran out. A flood of output is cut."""
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
                return None, kept[process.stderr]
            for key, _ in ready:
                piece = os.read(key.fd, _KEPT_BYTES)
                if not piece:
                    selector.unregister(key.fileobj)
                kept[key.fileobj] = (kept[key.fileobj] + piece)[-_KEPT_BYTES:]
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None, kept[process.stderr]
    return kept[process.stdout], kept[process.stderr]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the check with all its children, and let go of its pipes."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _judge(code: int, output: bytes, errors: bytes) -> Verdict:
    if code < 0:
        return Verdict(
            ok=False, code="check-crashed", reason=f"its check was killed by {signal_name(-code)}{_last(errors)}"
        )
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        document = None
    if code == 0 and isinstance(document, dict) and document.get("ok") is True:
        return Verdict(ok=True)
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        return Verdict(ok=False, code=str(error.get("code")), reason=str(error.get("message")))
    return Verdict(ok=False, code="check-failed", reason=f"its check ended with {code} and no verdict{_last(errors)}")


def _last(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1].strip()[:500]}" if lines else ""
