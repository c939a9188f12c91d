"""Locks that the kernel drops with the process: one installer at a time, and releases that a process is using."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from device_runtime.contract.manifest import RELEASE_MANIFEST
from device_runtime.errors import EdgeError
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root

BRIEF_S = 2.0
"""Whoever only looks holds the installer's lock for a moment: whoever changes something waits at least so long."""
_POLL_S = 0.1


class BusyError(EdgeError):
    """Another installer is at work on this root."""

    code = "busy"


@contextlib.contextmanager
def locked(fs: FileSystem, root: Root, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the installer's lock; ``root``'s folder exists.

    Raises:
        BusyError: another installer held it for all of ``wait_s``.
    """
    with _held(fs, root.lock, f"another installer is at work on {root.path}", wait_s):
        yield


@contextlib.contextmanager
def receiving(fs: FileSystem, root: Root, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of what comes from a host; ``root``'s folder exists.

    Whoever holds the installer's lock must not wait for this one: it is taken first, or tried with a ``wait_s`` of 0.

    Raises:
        BusyError: another host was sending for all of ``wait_s``.
    """
    with _held(fs, root.incoming_lock, f"another host is sending to {root.path}", wait_s):
        yield


def hold(release: Path) -> int:
    """Keep a release from being removed until the descriptor that is returned, and each of its copies, is closed."""
    descriptor = os.open(release / RELEASE_MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def using(release: Path) -> Iterator[None]:
    """Keep a release from being removed for as long as it runs; any number of processes may."""
    descriptor = hold(release)
    try:
        yield
    finally:
        os.close(descriptor)


def in_use(release: Path) -> bool:
    """Return whether a process is using a release."""
    try:
        descriptor = os.open(release / RELEASE_MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _held(fs: FileSystem, path: Path, taken: str, wait_s: float) -> Iterator[None]:
    until = time.monotonic() + wait_s
    while True:
        descriptor = fs.open_append(path)
        try:
            if _try_lock(descriptor):
                if not _is_open_at(descriptor, path):
                    continue  # removed while we waited: a newcomer would lock another file
                yield
                return
        finally:
            os.close(descriptor)
        if time.monotonic() >= until:
            raise BusyError(taken, hint="wait until it has finished, and try again")
        time.sleep(_POLL_S)


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
