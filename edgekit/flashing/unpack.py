"""Unpacks xz, gzip, zip and zstd as streams: in bounded memory, to the last byte of the file, and strict about it."""

from __future__ import annotations

import abc
import hashlib
import lzma
import shlex
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from device_runtime.errors import BadFileError, UnfitError
from device_runtime.files import refused

PIECE_BYTES = 1 << 20
"""What is read at once, and about what a decompressor gives at once."""
_MEMORY_BYTES = 512 << 20  # xz -9 takes 65 MiB; what is made to take more would take gigabytes
# One block of zstd, 4 bytes of input, may hold 128 KiB (RFC 8878, 3.1.1.2), and the binding knows no limit to its
# output: so 64 MiB are the most that it gives at once.
_ZSTD_FEED_BYTES = 2048
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_ZSTD_FRAME = 0xFD2FB528
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 6.3.10, 4.3.7
_ENCRYPTED = 1
_ZIP_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz"}  # section 4.4.5
_HINT_REPACK = "unpack it with another program, and give --image what comes out"


class Source:
    """A file that is read once, from its beginning, and hashed meanwhile."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.path = path
        self.position = 0
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int = PIECE_BYTES) -> bytes:
        """Return that many bytes, fewer at the end. Raises EdgeError: the disk refuses."""
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise refused(error, self.path, "read") from error
        self._digest.update(data)
        self.position += len(data)
        return data

    def digest(self) -> str:
        """Return the SHA-256 of what was read, as 64 hex digits."""
        return self._digest.hexdigest()

    def damaged(self, how: str) -> BadFileError:
        """Say what is wrong with the file."""
        return BadFileError(
            f"{self.path} is damaged: {how}",
            hint=f"download it again, and compare with its publisher's: sha256sum {shlex.quote(str(self.path))}",
        )


@dataclass(frozen=True)
class ZipEntry:
    """Where a file is in a zip (offset of its local header), and what its directory says of it; sizes in bytes."""

    name: str
    offset: int
    packed: int
    size: int
    method: int
    crc: int


def unpack_raw(source: Source) -> Iterator[bytes]:
    """Yield a file as it is."""
    while data := source.read():
        yield data


def unpack_xz(source: Source) -> Iterator[bytes]:
    """Yield what is in a file's streams of xz. Raises BadFileError: it is cut off, damaged, or more follows it."""
    return _unpack(source, _Xz)


def unpack_gz(source: Source) -> Iterator[bytes]:
    """Yield what is in a file's members of gzip. Raises BadFileError: as for xz."""
    return _unpack(source, _Gz)


def unpack_zst(source: Source) -> Iterator[bytes]:
    """Yield what is in a file's frames of zstd. Raises BadFileError: as for xz; UnfitError: zstandard is missing."""
    zstandard = _zstandard(source.path)
    return _unpack(source, lambda: _Zst(zstandard))


def unpack_zip(source: Source, entry: ZipEntry) -> Iterator[bytes]:
    """Yield one file of a zip, and read on to the zip's end. Raises BadFileError: it is cut or damaged."""
    _skip(source, entry.offset)
    header = source.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise source.damaged(f"nothing begins at byte {entry.offset}, where {entry.name} should")
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)[-2:]
    _skip(source, name_bytes + extra_bytes)
    crc, size = 0, 0
    unpacked = _inflated(source, entry) if entry.method == zipfile.ZIP_DEFLATED else _packed(source, entry)
    for data in unpacked:
        size += len(data)
        if size > entry.size:
            break
        crc = zlib.crc32(data, crc)
        yield data
    if size != entry.size:
        raise source.damaged(
            f"expected {entry.size} bytes in {entry.name}, got {'more' if size > entry.size else size}"
        )
    if crc != entry.crc:
        raise source.damaged(f"expected CRC-32 {entry.crc:08x} of {entry.name}, got {crc:08x}")
    while source.read():
        pass


def find_zip_entry(stream: IO[bytes], path: Path) -> ZipEntry:
    """Return the one image in a zip.

    Raises:
        BadFileError: the zip is damaged, there is not exactly one ``*.img`` in it, or it is packed in a way that
            cannot be unpacked.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            found = [entry for entry in archive.infolist() if _is_image(entry.filename)]
    except (zipfile.BadZipFile, ValueError, struct.error, EOFError, NotImplementedError) as error:
        raise Source(stream, path).damaged(f"no directory of a zip is at its end: {_reason(error)}") from error
    except OSError as error:
        raise refused(error, path, "read") from error
    if len(found) != 1:
        names = ", ".join(entry.filename for entry in found[:3]) or "none"
        raise BadFileError(f"expected one *.img in {path}, got {names}", hint=_HINT_REPACK)
    entry = found[0]
    if entry.flag_bits & _ENCRYPTED:
        raise BadFileError(f"{entry.filename} in {path} is encrypted", hint=_HINT_REPACK)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        way = _ZIP_METHODS.get(entry.compress_type, str(entry.compress_type))
        raise BadFileError(
            f"{entry.filename} in {path} is packed with method {way}, expected deflate or store", hint=_HINT_REPACK
        )
    return ZipEntry(
        entry.filename, entry.header_offset, entry.compress_size, entry.file_size, entry.compress_type, entry.CRC
    )


def zst_size(first: bytes, path: Path) -> int | None:
    """Return what the first frame of zstd says that is in it, in bytes; None: it does not.

    Raises:
        UnfitError: the package zstandard is missing.
    """
    zstandard = _zstandard(path)
    try:
        size: int = zstandard.frame_content_size(first)
    except zstandard.ZstdError:  # found again, and told, when it is unpacked
        return None
    return size if size >= 0 else None


class _Member(abc.ABC):
    """One of the parts that a packed file consists of, each of which is a packed file of its own."""

    name: str
    errors: tuple[type[Exception], ...] = ()
    padding = 0
    """Zeros may follow, in multiples of so many; 0: they may not."""

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        """What was fed after the end."""

    @abc.abstractmethod
    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what comes out."""

    @abc.abstractmethod
    def begins(self, data: bytes) -> bool:
        """Tell whether there is another part, from its first bytes."""


class _Xz(_Member):
    name = "xz"
    errors = (lzma.LZMAError,)
    padding = 4

    def __init__(self) -> None:
        super().__init__()
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_BYTES)

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._decoder.decompress(data, PIECE_BYTES)
        while not (self._decoder.eof or self._decoder.needs_input):
            yield self._decoder.decompress(b"", PIECE_BYTES)
        self.ended, self.rest = self._decoder.eof, self._decoder.unused_data

    def begins(self, data: bytes) -> bool:
        return data.startswith(b"\xfd7zXZ\x00")


class _Gz(_Member):
    name = "gzip"
    errors = (zlib.error,)
    padding = 1

    def __init__(self) -> None:
        super().__init__()
        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield from _inflate(self._decoder, data)
        self.ended, self.rest = self._decoder.eof, self._decoder.unused_data

    def begins(self, data: bytes) -> bool:
        return data.startswith(b"\x1f\x8b")


class _Zst(_Member):
    name = "zstd"
    padding = 0

    def __init__(self, zstandard: Any) -> None:
        self.errors = (zstandard.ZstdError,)
        super().__init__()
        self._decoder = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for at in range(0, len(data), _ZSTD_FEED_BYTES):
            yield self._decoder.decompress(data[at : at + _ZSTD_FEED_BYTES])
            if self._decoder.eof:
                self.ended, self.rest = True, self._decoder.unused_data + data[at + _ZSTD_FEED_BYTES :]
                return

    def begins(self, data: bytes) -> bool:
        magic = int.from_bytes(data[:4], "little")
        return magic == _ZSTD_FRAME or magic in _ZSTD_SKIPPABLE


def _unpack(source: Source, make: Callable[[], _Member]) -> Iterator[bytes]:
    data = source.read()
    while data:
        member = make()
        try:
            yield from member.feed(data)
            while not member.ended:
                data = source.read()
                if not data:
                    raise source.damaged(f"its {member.name} stream is cut off at byte {source.position}")
                yield from member.feed(data)
        except member.errors as error:
            raise source.damaged(f"no valid {member.name} before byte {source.position}: {_reason(error)}") from error
        data = _past_padding(source, member)


def _past_padding(source: Source, member: _Member) -> bytes:
    """Return the beginning of the next part, or nothing at the end of the file."""
    data, zeros = member.rest, 0
    while member.padding:
        rest = data.lstrip(b"\0")
        zeros += len(data) - len(rest)
        if rest:
            data = rest
            break
        data = source.read()
        if not data:
            break
    if 0 < len(data) < 8:  # so much tells what it is
        data += source.read()
    if data and not member.begins(data):
        raise source.damaged(f"something else follows its {member.name} stream at byte {source.position - len(data)}")
    if member.padding and zeros % member.padding:
        raise source.damaged(f"expected padding in multiples of {member.padding} bytes, got {zeros} bytes")
    return data


def _inflate(decoder: Any, data: bytes) -> Iterator[bytes]:
    """Yield what zlib makes of these bytes; there may be more to come when it has eaten all of them."""
    while True:
        piece: bytes = decoder.decompress(data, PIECE_BYTES)
        yield piece
        data = decoder.unconsumed_tail
        if decoder.eof or (not data and len(piece) < PIECE_BYTES):
            return


def _packed(source: Source, entry: ZipEntry) -> Iterator[bytes]:
    """Yield a file of a zip as it is in there."""
    missing = entry.packed
    while missing:
        data = source.read(min(missing, PIECE_BYTES))
        if not data:
            raise source.damaged(f"{entry.name} is cut off at byte {source.position}")
        missing -= len(data)
        yield data


def _inflated(source: Source, entry: ZipEntry) -> Iterator[bytes]:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for data in _packed(source, entry):
            yield from _inflate(decoder, data)
    except zlib.error as error:
        raise source.damaged(f"{entry.name} cannot be inflated before byte {source.position}: {error}") from error


def _skip(source: Source, size: int) -> None:
    while size:
        data = source.read(min(size, PIECE_BYTES))
        if not data:
            raise source.damaged(f"it ends at byte {source.position}, before what its directory names")
        size -= len(data)


def _is_image(name: str) -> bool:
    # macOS puts a file of its own beside each: __MACOSX/._NAME
    return name.lower().endswith(".img") and not name.rpartition("/")[2].startswith("._")


def _zstandard(path: Path) -> Any:
    try:
        import zstandard  # noqa: PLC0415 - for those who have such an image
    except ImportError as error:
        raise UnfitError(
            f"{path} is packed with zstd, and the Python package zstandard is not installed",
            hint="uv pip install zstandard",
        ) from error
    return zstandard


def _reason(error: Exception) -> str:
    return str(error).lower() or type(error).__name__
