"""Processes that are named for certain: by a mark in their environment, or by pid and start; pids come again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from device_runtime.install.root import Root

MARK = "EDGEKIT_SUPERVISED"
"""The environment variable that all processes of an application inherit; its value is the root."""
BENCH_MARK = "EDGEKIT_BENCHED"
"""As ``MARK``, of the processes of a measurement."""

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STARTTIME = 19  # field 22 of proc_pid_stat(5), and those behind the command's name begin with the third
_POLL_S = 0.02


def boot_id() -> str:
    """Return what Linux calls this boot (random(4); in a container that of the machine), or an empty text."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def started_at(pid: int) -> str:
    """Return when a process started, in ticks since boot, or an empty text when there is none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return ""
    # The name may hold anything, brackets too.
    return stat.rpartition(b")")[2].split()[_STARTTIME].decode()


def send(pid: int, started: str, number: signal.Signals) -> bool:
    """Send a signal to the process that ``pid`` named at ``started``, and return whether it is still there."""
    with _pinned(pid) as send_one:
        if not started or started_at(pid) != started:
            return False
        return send_one(number)


def end_marked(root: Root, timeout_s: float = 5.0, name: str = MARK) -> int:
    """Kill every process of a root's application, also those that left its process group; return how many.

    ``name`` is the environment variable that marks them. Those that do not die within ``timeout_s``, in a driver say,
    are left to the kernel.
    """
    mark = f"{name}={root.path}".encode()
    ended: set[int] = set()
    until = time.monotonic() + timeout_s
    while found := [pid for pid in _pids() if _end_if_marked(pid, mark)]:
        ended.update(found)
        if time.monotonic() > until:
            break
        time.sleep(_POLL_S)
    return len(ended)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends (prctl(2)), or end it when that is too late."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def hear_signals() -> None:
    """Let signals reach this process which its parent held back for itself: a child inherits that, and hands it on."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid()]


def _end_if_marked(pid: int, mark: bytes) -> bool:
    """Kill a process when it has the mark, and return whether it had it; what is dead has none any more."""
    with _pinned(pid) as send_one:
        try:
            words = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return mark in words and send_one(signal.SIGKILL)


@contextlib.contextmanager
def _pinned(pid: int) -> Iterator[Callable[[signal.Signals], bool]]:
    """Yield what sends signals to the process that a pid names now, or to none (pidfd_open(2), Linux 5.3).

    It returns whether the process was there to get one.
    """
    descriptor = -1
    with contextlib.suppress(AttributeError, OSError):
        descriptor = os.pidfd_open(pid)

    def send_one(number: signal.Signals) -> bool:
        try:
            if descriptor >= 0:
                signal.pidfd_send_signal(descriptor, number)
            else:
                os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    try:
        yield send_one
    finally:
        if descriptor >= 0:
            os.close(descriptor)
