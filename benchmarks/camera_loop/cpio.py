"""Write cpio archives as Linux unpacks them into memory when it starts.

The format is "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). Archives may follow one
another in one file.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

_MAGIC = b"070701"
_HEADER_BYTES = 110
_STEP = 4
"""Names and contents begin at multiples of so many bytes."""
_END = "TRAILER!!!"


class Cpio:
    """An archive that is being written; leaving the ``with`` block completes it."""

    def __init__(self, stream: BinaryIO) -> None:
        """Append to ``stream``, whose position is a multiple of four."""
        self._stream = stream
        self._folders: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.add(_END, 0)

    def add(self, name: str, mode: int, content: bytes = b"", mtime: int = 0) -> None:
        """Add one entry, and the folders above it that are not there yet; ``mode`` holds its kind, as in stat."""
        above, slash, _ = name.rpartition("/")
        if slash and above not in self._folders:
            self.add(above, stat.S_IFDIR | 0o755)
        if stat.S_ISDIR(mode):
            if name in self._folders:
                return
            self._folders.add(name)
        path = name.encode() + b"\0"
        # Inode, mode, owner, group, links, time, bytes, device (2), device's own numbers (2), bytes of name, check.
        fields = (0, mode, 0, 0, 1, mtime, len(content), 0, 0, 0, 0, len(path), 0)
        header = _MAGIC + b"".join(b"%08X" % value for value in fields)
        self._stream.write(header + path + _padding(_HEADER_BYTES + len(path)))
        self._stream.write(content + _padding(len(content)))

    def add_tree(self, folder: Path, name: str, wanted: Callable[[Path], bool] = lambda _: True) -> None:
        """Add what is in a folder, under ``name``, as far as it is wanted."""
        for path in sorted(folder.rglob("*")):
            if path.is_file() and wanted(path):
                self.add_file(path, f"{name}/{path.relative_to(folder)}")

    def add_file(self, path: Path, name: str) -> None:
        """Add a file; the time of its change stays, by which Python knows whether what it compiled is current."""
        state = path.stat()
        self.add(name, state.st_mode, path.read_bytes(), int(state.st_mtime))

    def add_tar(self, archive: tarfile.TarFile, left_out: tuple[str, ...]) -> None:
        """Add a tar file's folders, files and links, without those whose names begin with one of ``left_out``."""
        for member in archive:
            name = member.name.removeprefix("./")
            if name in {"", "."} or name.startswith(left_out):
                continue
            if member.isdir():
                self.add(name, stat.S_IFDIR | member.mode)
            elif member.issym():
                self.add(name, stat.S_IFLNK | 0o777, os.fsencode(member.linkname))
            elif member.isfile() or member.islnk():
                stream = archive.extractfile(member)
                content = stream.read() if stream else b""
                self.add(name, stat.S_IFREG | member.mode, content, int(member.mtime))


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _STEP)
