"""A whole block device that this process has for itself, read and written past the page cache; its errors in words."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device_runtime.errors import EdgeError, UnfitError
from edgekit.flashing.drives import Drive, find_drive, identity_of, size_of

PIECE_BYTES = 4 << 20
"""As much is read or written at once: an erase block of common cards, or a multiple of it."""

# linux/fs.h
_BLKROGET = 0x125E
_BLKRRPART = 0x125F
BLKFLSBUF = 0x1261
_BLKSSZGET = 0x1268

_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ENOSPC, errno.EREMOTEIO, errno.ETIMEDOUT)


class CardError(EdgeError):
    """A card was pulled out, is broken, or is not what it says it is."""

    code = "card"


class Medium:
    """An open device. ``size`` and ``block`` (what reads and writes are a multiple of) are bytes.

    Everything goes past the page cache (O_DIRECT): what was written is with the device, and what is read comes from
    it. Places are multiples of ``block``; what is written is filled up with zeros to one.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = size_of(descriptor)
        self.block = _integer(descriptor, _BLKSSZGET)
        self._buffer = mmap.mmap(-1, PIECE_BYTES)  # O_DIRECT wants memory that begins with a page

    def read(self, at: int, size: int) -> bytes:
        """Return ``size`` bytes, PIECE_BYTES at most. Raises CardError."""
        done = 0
        with self._said("read", at), memoryview(self._buffer) as memory:
            while done < size:
                with memory[done : self._whole(size)] as rest:
                    count = os.preadv(self._descriptor, [rest], at + done)
                if not count:
                    raise OSError(errno.ENXIO, "the device ends here")
                done += count
            return bytes(memory[:size])

    def write(self, at: int, content: bytes) -> None:
        """Write PIECE_BYTES at most. Raises CardError."""
        whole = self._whole(len(content))
        done = 0
        with self._said("write", at), memoryview(self._buffer) as memory:
            memory[: len(content)] = content
            memory[len(content) : whole] = bytes(whole - len(content))
            while done < whole:
                with memory[done:whole] as rest:
                    done += os.pwritev(self._descriptor, [rest], at + done)

    def flush(self) -> None:
        """Let the device put what it has in its own memory onto the medium. Raises CardError."""
        with self._said("flush", None):
            os.fdatasync(self._descriptor)

    def forget(self) -> None:
        """Let programs that read the device by its path get what is on it; the page cache may hold what was."""
        with contextlib.suppress(OSError):  # it takes root; what was written went past the cache, and out of it
            fcntl.ioctl(self._descriptor, BLKFLSBUF)

    def show_partitions(self) -> None:
        """Let the kernel look at the partitions anew, as far as it wants to: what was written stands anyway."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, _BLKRRPART)

    def _whole(self, size: int) -> int:
        return -(-size // self.block) * self.block

    @contextmanager
    def _said(self, action: str, at: int | None) -> Iterator[None]:
        """Say what the device does not do."""
        try:
            yield
        except OSError as error:
            where = "" if at is None else f" at byte {at}"
            reason = (error.strerror or str(error)).lower()
            why = "; the card was pulled out, or it or its reader is broken" if error.errno in _GONE else ""
            raise CardError(
                f"cannot {action} {self.path}{where}: {reason}{why}",
                hint="put the card in again and flash it anew; if that fails too, take another card or reader\n"
                "what the kernel says: sudo dmesg | tail",
            ) from error


@contextmanager
def open_medium(drive: Drive) -> Iterator[Medium]:
    """Open a drive, for this process alone, when it still is the one that was found.

    While it is open, nothing of it can be mounted.

    Raises:
        CardError: another card is in its place by now, or none.
        UnfitError: it is mounted, in use or read-only by now.
        UsageError: it is something else altogether by now.
        EdgeError: this user may not write it.
    """
    serial = find_drive(drive.path).serial
    try:
        descriptor = os.open(drive.path, os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise _not_opened(error, drive.path) from error
    try:
        try:
            identity = identity_of(descriptor, serial)
            read_only = bool(_integer(descriptor, _BLKROGET))
            medium = Medium(descriptor, drive.path)
        except OSError as error:
            raise _not_opened(error, drive.path) from error
        if identity != drive.identity:
            raise CardError(
                f"{drive.path} is another card by now: expected {drive.identity}, got {identity}; nothing was written",
                hint="look at the cards again: edgekit flash --list",
            )
        if read_only:
            raise UnfitError(f"{drive.path}: read-only", hint="slide the card's lock, and put it in again")
        yield medium
    finally:
        os.close(descriptor)


def _not_opened(error: OSError, path: Path) -> EdgeError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return EdgeError(
            f"cannot open {path}: not permitted; it takes root, or the group that the device belongs to",
            hint=f'sudo "$(command -v edgekit)" flash --device {path} …   # the same words as before\n'
            f"whose it is: ls -l {path}",
        )
    if error.errno == errno.EBUSY:
        return UnfitError(
            f"{path}: mounted, or in use by another program", hint=f"close it; see: lsblk {path}; sudo fuser -v {path}"
        )
    if error.errno == errno.EROFS:
        return UnfitError(f"{path}: read-only", hint="slide the card's lock, and put it in again")
    reason = (error.strerror or str(error)).lower()
    return CardError(f"cannot open {path}: {reason}", hint="put the card in again, and look: edgekit flash --list")


def _integer(descriptor: int, request: int) -> int:
    answer = array.array("i", [0])
    fcntl.ioctl(descriptor, request, answer)
    return answer[0]
