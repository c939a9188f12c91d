"""The files of a bundle, wherever they lie: in a plain tar, or in a folder. The frame of both is checked."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Optional, Protocol

from device_runtime.contract.oci import BLOBS, INDEX_FILE, LAYOUT_FILE
from device_runtime.errors import BadFileError
from device_runtime.install.root import PART, TEMPORARY

# POSIX.1-1988 ustar: blocks of 512 bytes, one header block per file, two zero blocks at the end.
_BLOCK = 512
_RECORD = 20 * _BLOCK
_ZEROS = bytes(_BLOCK)
_OCTAL = re.compile(rb"[0-7]+[\0 ]")
_NAME = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")

MAX_FILES = 4096
"""Files in a bundle: several platforms of some dozens of wheels stay far below."""
_CHUNK_BYTES = 1 << 20
_FOLDERS = ("", "blobs/", BLOBS)


class Members(Protocol):
    """Files by their names in the layout: ``oci-layout``, ``index.json``, ``blobs/sha256/<64 hex digits>``."""

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes, by its name."""

    @property
    def closed(self) -> bool:
        """Whether every file has to belong to the bundle. A folder may also hold what came for another one."""

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes: at most as many as its size says. Raises OSError."""

    def path(self, name: str) -> Optional[Path]:
        """Return where a file lies by itself, or None when it is part of an archive."""


class TarMembers:
    """The files of a tar."""

    closed = True

    def __init__(self, stream: BinaryIO, where: str) -> None:
        """Look at every header. Raises BadFileError when it is no tar of a bundle, to the byte."""
        self._stream = stream
        self._places = _members(stream, where)
        self.sizes = {name: size for name, (_, size) in self._places.items()}

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""
        offset, size = self._places[name]
        self._stream.seek(offset)
        yield from _pieces(self._stream, size)

    def path(self, name: str) -> Optional[Path]:
        """Return None: its files have no paths."""
        del name
        return None


class FolderMembers:
    """The files of a folder: regular ones with the layout's names. Blobs that are still on their way do not count."""

    closed = False

    def __init__(self, folder: Path, where: str) -> None:
        """Look at every name.

        Raises:
            BadFileError: something does not belong there, or is a link or a device.
            OSError: it cannot be read.
        """
        self._folder = folder
        self.sizes: dict[str, int] = {}
        for inner in _FOLDERS:
            for name in _listed(folder / inner, f"{where}: {inner}"):
                unfinished = name.startswith(TEMPORARY) or name.endswith(PART)
                if f"{inner}{name}/" not in _FOLDERS and not unfinished:
                    self.sizes[inner + name] = self._size(inner + name, where)
                if len(self.sizes) > MAX_FILES:
                    raise BadFileError(f"{where}: expected at most {MAX_FILES} files")

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's bytes."""
        with _open(self._folder / name) as stream:
            yield from _pieces(stream, self.sizes[name])

    def path(self, name: str) -> Optional[Path]:
        """Return where a file lies."""
        return self._folder / name

    def _size(self, name: str, where: str) -> int:
        if not _NAME.fullmatch(name):
            raise BadFileError(f"{where}: expected {LAYOUT_FILE}, {INDEX_FILE} or {BLOBS}<64 hex digits>, got {name!r}")
        found = (self._folder / name).lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BadFileError(f"{where}: {name}: expected a regular file, got a link, a device or a folder")
        return found.st_size


def _listed(folder: Path, where: str) -> list[str]:
    if folder.is_symlink():
        raise BadFileError(f"{where}: expected a folder, got a link")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _open(path: Path) -> BinaryIO:
    # Not a link, should one have taken its place; and not to wait for who might write into a pipe.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _CHUNK_BYTES))
        if not piece:
            return
        size -= len(piece)
        yield piece


def _members(stream: BinaryIO, where: str) -> dict[str, tuple[int, int]]:
    """Return offset and size of every file in a tar, by name; the whole frame of the tar is checked."""
    end = stream.seek(0, os.SEEK_END)
    members: dict[str, tuple[int, int]] = {}
    offset = 0
    while True:
        stream.seek(offset)
        header = stream.read(_BLOCK)
        if len(header) < _BLOCK:
            raise BadFileError(f"{where}: {'empty' if end == 0 else 'cut'}: no end mark after byte {offset}")
        if header == _ZEROS:
            _check_end(stream, offset, end, where)
            return members
        name, size = _header(header, f"{where}: byte {offset}")
        padded = -(-size // _BLOCK) * _BLOCK
        if name in members:
            raise BadFileError(f"{where}: {name} is there twice")
        if offset + _BLOCK + padded > end:
            raise BadFileError(f"{where}: cut: {name} needs {size} bytes, the file ends after {end - offset - _BLOCK}")
        stream.seek(offset + _BLOCK + size)
        if stream.read(padded - size).strip(b"\0"):
            raise BadFileError(f"{where}: altered: data after the end of {name}")
        members[name] = (offset + _BLOCK, size)
        if len(members) > MAX_FILES:
            raise BadFileError(f"{where}: expected at most {MAX_FILES} files")
        offset += _BLOCK + padded


def _header(header: bytes, where: str) -> tuple[str, int]:
    if header[257:265] != b"ustar\x0000":
        raise BadFileError(f"{where}: not a bundle: expected a tar header")
    # The checksum is the sum of the header's bytes with its own eight taken as spaces.
    actual = sum(header[:148]) + sum(header[156:]) + 8 * 0x20
    if header[148:156] != b"%06o\0 " % actual:
        raise BadFileError(f"{where}: altered: the tar header's checksum is wrong")
    if header[156:157] != b"0":
        raise BadFileError(f"{where}: expected a regular file, got tar type {header[156:157]!r}")
    name = header[:100].rstrip(b"\0").decode("ascii", "replace")
    if header[345:500].strip(b"\0") or not _NAME.fullmatch(name):
        raise BadFileError(f"{where}: expected {LAYOUT_FILE}, {INDEX_FILE} or {BLOBS}<64 hex digits>, got {name!r}")
    return name, _octal(header[124:136], where)


def _octal(text: bytes, where: str) -> int:
    digits = _OCTAL.match(text)
    if digits is None or text[digits.end() :].strip(b"\0 "):
        raise BadFileError(f"{where}: altered: expected an octal number, got {text!r}")
    return int(digits.group()[:-1], 8)


def _check_end(stream: BinaryIO, offset: int, end: int, where: str) -> None:
    """Two zero blocks end a tar, and at most one record (20 blocks) of zeros may follow for tape drives' sake."""
    rest = end - offset
    if rest < 2 * _BLOCK or rest > 2 * _BLOCK + _RECORD:
        raise BadFileError(f"{where}: expected 2 blocks of end mark, got {rest} bytes")
    stream.seek(offset)
    if stream.read(rest).strip(b"\0"):
        raise BadFileError(f"{where}: altered: data after the end mark")
