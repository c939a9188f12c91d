"""Files on a FAT, in an image or on a card: read and written without a mount and without root."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from device_runtime.errors import BadFileError, UnfitError
from device_runtime.files import refused
from edgekit.flashing.errors import NotWrittenError
from edgekit.flashing.medium import BLKFLSBUF
from edgekit.flashing.mtools import Mtools, on_fat, opened

MAX_READ_BYTES = 64 << 20
_MAX_FILE_BYTES = (4 << 30) - 1
_PIECE_BYTES = 1 << 20
_FREE = re.compile(rb"^ *([\d ]+) bytes free *$", re.MULTILINE)
_SIZE = re.compile(rb"^ *1 file +([\d ]+) bytes *$", re.MULTILINE)
_CLUSTER = re.compile(rb"^cluster size: (\d+) sectors", re.MULTILINE)
_SECTOR = re.compile(rb"^sector size: (\d+) bytes", re.MULTILINE)
_NO_ROOM = re.compile(r"disk full|no directory slots|no free cluster|no space", re.IGNORECASE)
_NO_ROOM_HINT = "make the bundle smaller, for one kind of board: edgekit bundle --board ID"


class BootFiles:
    """The files of a FAT.

    Names are paths below its root, as ``edgekit/arm.sh``; upper and lower case are the same there.

    Args:
        path: the file or device that it is in.
        offset: where it begins there, in bytes.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._mtools = Mtools(path, offset)

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Return the names of files and folders in a folder, hidden ones too; none where there is no such folder.

        Raises:
            BadFileError: there is no FAT, or it is damaged.
            UnfitError: there are no mtools.
        """
        return tuple(self._entries(folder)) if self._is_folder(folder) else ()

    def read(self, name: str) -> bytes | None:
        """Return what is in a file, or None where there is none.

        Raises:
            BadFileError: there is no FAT, it is damaged, or the file has more than 64 MiB.
            UnfitError: there are no mtools.
        """
        size = self._size(name)
        if size is None:
            return None
        if size > MAX_READ_BYTES:
            raise BadFileError(f"{name} in {self._mtools} has {size} bytes, expected {MAX_READ_BYTES} at most")
        with self._mtools.reading(name) as stream:
            content = stream.read(size)
        if len(content) != size:  # the FAT names fewer clusters than that, and mtools say nothing
            raise BadFileError(f"{name} in {self._mtools} is damaged: expected {size} bytes, got {len(content)}")
        return content

    def put(self, files: Mapping[str, bytes | Path]) -> None:
        """Write files, and make the folders that they are in; one that is there already is replaced.

        Equal files on equal FATs give equal bytes: all times are those of 1980.

        Args:
            files: name on the FAT → its content, or the file that has it.

        Raises:
            BadFileError: there is no FAT, it is damaged, or a file to be copied is missing.
            UnfitError: there is no room, with the bytes needed and free; there is a folder of a file's name; or there
                are no mtools.
            NotWrittenError: mtools wrote less than they were given.
        """
        there = {name: self._size(name) for name in files}
        folders = self._missing_folders(files)
        room = self._require_room(files, there, folders)
        for folder in folders:
            self._write(f"make {folder} in", room, "mmd", on_fat(folder))
        for name, content in files.items():
            if self._is_folder(name):
                raise UnfitError(f"cannot write {name} in {self._mtools}: there is a folder of that name")
            self._write(f"write {name} in", room, "mcopy", "-o", "-", on_fat(name), given=content)
            if self._size(name) != (size := _size_of(content)):
                raise self._not_written(f"expected {size} bytes in {name}, got {self._size(name)}")

    def check(self, files: Mapping[str, bytes | Path]) -> None:
        """Read files anew, from the medium rather than from memory, and compare them to the byte.

        Raises:
            NotWrittenError: one is missing or another.
            BadFileError: there is no FAT, it is damaged, or a file to compare with is missing.
            UnfitError: there are no mtools.
            EdgeError: the disk refuses.
        """
        _forget_pages(self._path)
        for name, content in files.items():
            size, expected = self._size(name), _size_of(content)
            if size != expected:
                got = "no such file" if size is None else f"{size} bytes"
                raise self._not_written(f"expected {expected} bytes in {name}, got {got}")
            with self._mtools.reading(name) as got_stream, _content(content) as wanted:
                at = _first_difference(got_stream, wanted)
                if at is not None:
                    raise self._not_written(f"{name} is another from byte {at} on")

    def _entries(self, folder: str) -> dict[str, bool]:
        """Return what is in a folder that is there: name → whether it is a folder."""
        said = self._mtools.demand("read", "mdir", "-a", "-b", on_fat(folder))
        lines = [line for line in said.decode("utf-8", "surrogateescape").splitlines() if line.startswith("::")]
        return {line.removesuffix("/").rpartition("/")[2]: line.endswith("/") for line in lines}

    def _kind(self, name: str) -> bool | None:
        """Tell whether something is a folder; None: there is nothing of this name."""
        if not name:
            return True
        folder, _, last = name.rpartition("/")
        if not self._is_folder(folder):
            return None
        entries = self._entries(folder).items()
        return next((is_folder for found, is_folder in entries if found.lower() == last.lower()), None)

    def _is_folder(self, name: str) -> bool:
        on_fat(name)
        return self._kind(name) is True

    def _size(self, name: str) -> int | None:
        """Return a file's bytes, or None where no file has this name."""
        place = on_fat(name)
        return _number(_SIZE, self._mtools.demand("read", "mdir", "-a", place)) if self._kind(name) is False else None

    def _missing_folders(self, files: Mapping[str, bytes | Path]) -> list[str]:
        wanted: dict[str, None] = {}
        for name in files:
            parts = name.split("/")
            wanted |= {"/".join(parts[:depth]): None for depth in range(1, len(parts))}
        return [folder for folder in wanted if not self._is_folder(folder)]

    def _require_room(
        self, files: Mapping[str, bytes | Path], there: Mapping[str, int | None], folders: list[str]
    ) -> str:
        """Check that all fits before anything is written; return the sum, for an error that comes nevertheless."""
        told = self._mtools.demand("read", "minfo", "::")
        cluster = _number(_CLUSTER, told) * _number(_SECTOR, told)
        free = _number(_FREE, self._mtools.demand("read", "mdir", "-a", "::/"))
        needed = len(folders) * cluster
        for name, content in files.items():
            size = _size_of(content)
            if size > _MAX_FILE_BYTES:
                raise UnfitError(f"{name} has {size} bytes: a file on a FAT can have {_MAX_FILE_BYTES}")
            needed += _rounded(size, cluster) - _rounded(there[name] or 0, cluster)
        room = f"{needed} bytes needed, {free} free"
        if needed > free:
            raise self._no_room(room)
        return room

    def _write(self, what: str, room: str, tool: str, *arguments: str, given: bytes | Path = b"") -> None:
        done = self._mtools.run(tool, *arguments, given=given)
        # Folders take some, and a FAT's own count may be wrong: mcopy leaves half a file then, and ends with 0.
        if _NO_ROOM.search(done.complained):
            raise self._no_room(room)
        if done.code:
            raise self._mtools.failed(what, done)

    def _no_room(self, room: str) -> UnfitError:
        return UnfitError(f"no room in {self._mtools}: {room}", hint=_NO_ROOM_HINT)

    def _not_written(self, how: str) -> NotWrittenError:
        return NotWrittenError(
            f"{self._mtools} does not hold what was written: {how}", hint="try again, and then another card or reader"
        )


def _forget_pages(path: Path) -> None:
    """Have what is read next come from the medium. Raises EdgeError: what was written before cannot be flushed."""
    with opened(path) as stream:
        try:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise refused(error, path, "flush") from error
        if stat.S_ISBLK(os.fstat(stream.fileno()).st_mode):
            with contextlib.suppress(PermissionError):  # without root, the advice has to do
                fcntl.ioctl(stream, BLKFLSBUF)


@contextlib.contextmanager
def _content(content: bytes | Path) -> Iterator[IO[bytes]]:
    if isinstance(content, bytes):
        yield io.BytesIO(content)
        return
    with opened(content) as stream:
        yield stream


def _size_of(content: bytes | Path) -> int:
    if isinstance(content, bytes):
        return len(content)
    try:
        return content.stat().st_size
    except OSError as error:
        raise refused(error, content, "read") from error


def _first_difference(one: IO[bytes], other: IO[bytes]) -> int | None:
    """Return the first byte that two streams do not share, or None."""
    at = 0
    while True:
        left, right = one.read(_PIECE_BYTES), other.read(_PIECE_BYTES)
        if left != right:
            same = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
            return at + (min(len(left), len(right)) if same is None else same)
        if not left:
            return None
        at += len(left)


def _rounded(size: int, cluster: int) -> int:
    return -(-size // cluster) * cluster


def _number(pattern: re.Pattern[bytes], said: bytes) -> int:
    """Return a number that mtools say; they put spaces between thousands. Raises BadFileError: they do not say it."""
    found = pattern.search(said)
    if found is None:
        raise BadFileError(f"mtools do not tell what was asked: {said[:200].decode('utf-8', 'replace')!r}")
    return int(found[1].replace(b" ", b""))
