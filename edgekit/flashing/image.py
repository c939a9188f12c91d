"""An operating system's image as one stream of bytes, whatever it is packed in; its file is read once."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device_runtime.errors import BadFileError
from device_runtime.files import refused
from edgekit.flashing.partitions import SECTOR_BYTES
from edgekit.flashing.unpack import (
    Source,
    ZipEntry,
    find_zip_entry,
    unpack_gz,
    unpack_raw,
    unpack_xz,
    unpack_zip,
    unpack_zst,
    zst_size,
)
from edgekit.flashing.xz_index import xz_size

MAX_IMAGE_BYTES = 2 << 40
"""More cannot be partitioned by an MBR, and there are no such cards."""
_TAR_MAGIC = slice(257, 262)
# What an image's file begins with, and what it is packed in then.
_PACKED = {
    b"\xfd7zXZ\x00": "xz",
    b"\x1f\x8b": "gz",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x28\xb5\x2f\xfd": "zst",
    **{bytes([low, 0x2A, 0x4D, 0x18]): "zst" for low in range(0x50, 0x60)},
}
_FOREIGN = {
    b"BZh": "packed with bzip2",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x04\x22\x4d\x18": "packed with LZ4",
    b"QFI\xfb": "a QCOW image",
    b"KDMV": "a VMDK image",
    b"conectix": "a VHD image",
    b"\x3a\xff\x26\xed": "an Android sparse image",
}


@dataclass(frozen=True)
class _Sizes:
    """What a file says that it unpacks to, and what it may; bytes."""

    told: int | None
    most: int


class ImageStream:
    """The bytes of an image, in order.

    ``form`` is what its file is: ``raw``, ``xz``, ``gz``, ``zip`` or ``zst``. ``file_size`` is the file's, in bytes.
    """

    def __init__(self, source: Source, form: str, pieces: Iterator[bytes], file_size: int, sizes: _Sizes) -> None:
        self.form = form
        self.file_size = file_size
        self._source = source
        self._pieces = pieces
        self._sizes = sizes
        self._held = memoryview(b"")
        self._unpacked = 0
        self._ended = False

    @property
    def size(self) -> int | None:
        """What it unpacks to, in bytes, if the file tells; a zstd file of several frames tells too little at first."""
        told = self._sizes.told
        return None if told is not None and told < self._unpacked else told

    @property
    def position(self) -> int:
        """How many bytes of the file were read so far."""
        return self._source.position

    def read(self, size: int) -> bytes:
        """Return exactly that many bytes, fewer only at the end.

        Raises:
            BadFileError: the file is cut off or damaged, something else follows the image, or it unpacks to more
                than an image can be.
            EdgeError: the disk refuses.
        """
        parts: list[memoryview] = []
        while size and self._fill():
            parts.append(self._held[:size])
            self._held = self._held[size:]
            size -= len(parts[-1])
        return b"".join(parts)

    def digest(self) -> str:
        """Return the SHA-256 of the file as it lies there, as 64 hex digits: known when all was read.

        Raises:
            RuntimeError: a ``read`` has not met the end yet.
        """
        if not self._ended:
            raise RuntimeError(f"{self._source.path} was not read to its end")
        return self._source.digest()

    def first_sector(self) -> bytes:
        """Return the first 512 bytes without taking them, fewer if there are fewer. Raises as ``read`` does."""
        first = self.read(SECTOR_BYTES)
        self._held = memoryview(first + self._held.tobytes())
        return first

    def _fill(self) -> bool:
        """Have some bytes at hand; return whether there are any."""
        while not self._held and not self._ended:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                self._check_whole()
            else:
                self._take(piece)
        return bool(self._held)

    def _take(self, piece: bytes) -> None:
        self._unpacked += len(piece)
        if self._unpacked > self._sizes.most:
            raise _too_large(self._source.path, self._sizes.most)
        self._held = memoryview(piece)

    def _check_whole(self) -> None:
        if self._source.position != self.file_size:
            raise BadFileError(
                f"{self._source.path} changed while it was read: expected {self.file_size} bytes, "
                f"got {self._source.position}",
                hint="wait until it is complete",
            )


@contextlib.contextmanager
def open_image(path: Path, most: int = MAX_IMAGE_BYTES) -> Iterator[ImageStream]:
    """Open an image; what it is packed in is told from its content, not from its name.

    Of a zip, the directory at its end is read twice. Everything else is read once.

    Args:
        path: the image, raw or packed with xz, gzip, zip or zstd.
        most: the most bytes that it may unpack to.

    Raises:
        BadFileError: there is no such file, or it is no image and nothing that an image is packed in, or too large.
        UnfitError: it is packed with zstd, and the package for that is missing.
        EdgeError: the disk refuses.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise refused(error, path, "read") from error
    with stream:
        image = _open(stream, path, most)
        _require_image(image.first_sector(), path)
        yield image


def _open(stream: IO[bytes], path: Path, most: int) -> ImageStream:
    try:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise BadFileError(f"{path} is no file", hint="name an image of an operating system, as OS.img.xz")
        first = stream.read(SECTOR_BYTES)
        form = _form(first, path)
        entry = find_zip_entry(stream, path) if form == "zip" else None
        told = entry.size if entry else _told(stream, form, first, path)
        stream.seek(0)
    except OSError as error:
        raise refused(error, path, "read") from error
    if told is not None and told > most:
        raise _too_large(path, most)
    source = Source(stream, path)
    return ImageStream(source, form, _pieces(source, form, entry), state.st_size, _Sizes(told, most))


def _form(first: bytes, path: Path) -> str:
    if not first:
        raise BadFileError(f"{path} is empty", hint="download it again")
    for magic, what in _FOREIGN.items():
        if first.startswith(magic):
            raise _foreign(path, what)
    return next((form for magic, form in _PACKED.items() if first.startswith(magic)), "raw")


def _told(stream: IO[bytes], form: str, first: bytes, path: Path) -> int | None:
    """Return what the file says that it unpacks to, in bytes."""
    if form == "raw":
        return os.fstat(stream.fileno()).st_size
    if form == "xz":
        return xz_size(stream)
    return zst_size(first, path) if form == "zst" else None


def _pieces(source: Source, form: str, entry: ZipEntry | None) -> Iterator[bytes]:
    if entry:
        return unpack_zip(source, entry)
    return {"raw": unpack_raw, "xz": unpack_xz, "gz": unpack_gz, "zst": unpack_zst}[form](source)


def _require_image(first: bytes, path: Path) -> None:
    """Look at the first sector of what was unpacked. Raises BadFileError: it is none of a disk."""
    if first[_TAR_MAGIC] == b"ustar":
        raise _foreign(path, "a tar archive")
    if form := next((form for magic, form in _PACKED.items() if first.startswith(magic)), None):
        raise _foreign(path, f"packed twice, with {form} inside")
    if len(first) < SECTOR_BYTES:
        raise BadFileError(f"{path} is no image of a disk: expected 512 bytes or more in it, got {len(first)}")


def _foreign(path: Path, what: str) -> BadFileError:
    return BadFileError(
        f"{path} is {what}: expected an image of a disk, raw or in xz, gzip, zip or zstd",
        hint="download the image of an operating system, as OS.img.xz, or unpack this first",
    )


def _too_large(path: Path, most: int) -> BadFileError:
    return BadFileError(f"{path} unpacks to more than {most} bytes: no image of a card is as large")
