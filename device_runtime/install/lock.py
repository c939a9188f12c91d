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
    descriptor = fs.open_append(root.lock)
    try:
        _take(descriptor, root, wait_s)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def using(release: Path) -> Iterator[None]:
    """Keep a release from being removed for as long as it runs; any number of processes may."""
    descriptor = os.open(release / RELEASE_MANIFEST, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
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


def _take(descriptor: int, root: Root, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while not _try_lock(descriptor):
        if time.monotonic() >= until:
            raise BusyError(
                f"another installer is at work on {root.path}", hint="wait until it has finished, and try again"
            )
        time.sleep(_POLL_S)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
