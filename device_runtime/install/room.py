"""How much of a disk an installation takes, and whether there is as much."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.manifest import BlobRef, room_for
from device_runtime.errors import UnfitError

_SPARE_INODES = 32


class DiskFullError(UnfitError):
    """There is not enough space for an installation."""

    code = "disk-full"


@dataclass(frozen=True)
class Room:
    """What an installation takes."""

    bytes: int
    inodes: int

    def fits(self, folder: Path) -> bool:
        """Return whether the disk of ``folder`` has as much. Raises OSError."""
        disk = os.statvfs(folder)
        # Some file systems have no fixed number of inodes, and report none.
        return free_bytes(folder) >= self.bytes and (disk.f_files == 0 or disk.f_favail >= self.inodes)

    def lacking(self, folder: Path) -> DiskFullError:
        """Return the error that says so. Raises OSError."""
        free = free_bytes(folder)
        inodes = f", {os.statvfs(folder).f_favail} inodes free" if free >= self.bytes else ""
        return DiskFullError(
            f"{folder}: not enough space: needs {self.bytes} bytes, {free} bytes free{inodes}; "
            "what ran before still runs",
            hint=f"free some space; see: df -h {folder}",
        )


def room_of(blobs: Iterable[BlobRef], wheels: Iterable[BlobRef], came_bytes: int = 0) -> Room:
    """Return what writing ``blobs`` and unpacking ``wheels`` takes, when ``came_bytes`` of the blobs came already."""
    blobs, wheels = tuple(blobs), tuple(wheels)
    inodes = sum(2 * wheel.files for wheel in wheels) + 2 * len(blobs) + _SPARE_INODES
    return Room(room_for(blobs, wheels) - came_bytes, inodes)


def free_bytes(folder: Path) -> int:
    """Return the bytes that this user may still write on the disk of ``folder`` or of its nearest existing parent."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
