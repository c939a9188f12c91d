"""The card in the machine: a file, and what of the writes to it outlives a power cut.

A card has a cache: only what was flushed is sure to be there. QEMU logs all writes and flushes (its driver
blklogwrites, in the format of the kernel's dm-log-writes, Documentation/admin-guide/device-mapper/log-writes.rst), and
after a cut the file is made anew from its state at power on and the log up to the last flush.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.board.running import done

_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_MAGIC = 0x6A736677736872
_FLUSH, _DISCARD = 1, 4
_SECTOR = 512


@dataclass(frozen=True)
class Write:
    """One write in a log: where it goes, and where its bytes are in the log; ``size`` 0 is a flush."""

    offset: int
    size: int
    at: int


class Disk:
    """A card's image in a slot. The file itself changes when the power goes, not before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._running = path.with_name(f"{path.name}.running")
        self._log = path.with_name(f"{path.name}.writes")

    def power_on(self) -> list[str]:
        """Return QEMU's words for a drive ``card``."""
        done(["cp", "--sparse=always", "--reflink=auto", self.path, self._running])
        self._log.write_bytes(b"")
        nodes = [
            f"driver=file,node-name=bytes,filename={self._running}",
            f"driver=file,node-name=log,filename={self._log}",
            "driver=blklogwrites,node-name=card,file=bytes,log=log",
        ]
        return [word for node in nodes for word in ("-blockdev", node)]

    def power_off(self) -> None:
        """Keep all that was written: the machine said good-bye, or QEMU flushed at its end."""
        self._running.replace(self.path)
        self._log.unlink()

    def power_cut(self, seed: int | None = None) -> int:
        """Keep what was flushed, and return how many writes were lost.

        Args:
            seed: of a die that keeps every second of the others, in any order; None: all of them are lost.
        """
        writes = list(read_log(self._log))
        flushed = max((index for index, write in enumerate(writes) if not write.size), default=-1)
        die, lost = random.Random(seed), 0  # noqa: S311 - a test that can be repeated
        with self._log.open("rb") as log, self.path.open("r+b") as image:
            for index, write in enumerate(writes):
                if index > flushed and (seed is None or die.random() < 0.5):
                    lost += bool(write.size)
                    continue
                log.seek(write.at)
                image.seek(write.offset)
                image.write(log.read(write.size))
        self._running.unlink()
        self._log.unlink()
        return lost


def read_log(path: Path) -> Iterator[Write]:
    """Yield the whole writes and flushes of a log, in their order."""
    size = path.stat().st_size
    with path.open("rb") as log:
        head = log.read(_SUPER.size)
        if len(head) == _SUPER.size and any(head):
            magic, version, _, sector = _SUPER.unpack(head)
            assert (magic, version, sector) == (_MAGIC, 1, _SECTOR), f"{path}: another kind of log"
        at = _SECTOR
        while at + _SECTOR <= size:
            log.seek(at)
            first, sectors, flags, _ = _ENTRY.unpack(log.read(_ENTRY.size))
            data = 0 if flags & _DISCARD else sectors * _SECTOR
            if not flags and not data:
                return  # one that was still being written
            at += _SECTOR
            if at + data > size:
                return
            if not flags & _DISCARD:
                yield Write(first * _SECTOR, data, at)
            at += data
