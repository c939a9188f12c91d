"""How much is in a file of xz, from the indexes at the ends of its streams: nothing is unpacked for it.

The format: https://tukaani.org/xz/xz-file-format.txt, version 1.2.1.
"""

from __future__ import annotations

import io
import zlib
from typing import IO

_FOOTER_BYTES = 12  # and a stream's header is as long (2.1.1, 2.1.2)
_MAGIC = b"\xfd7zXZ\x00"
_FOOTER_MAGIC = b"YZ"
_MOST_INDEX_BYTES = 64 << 20
_MOST_STREAMS = 10_000
_PADDING_PIECE_BYTES = 4096


class _OddError(Exception):
    """The file is not what the format says."""


def xz_size(stream: IO[bytes]) -> int | None:
    """Return the bytes that a file unpacks to; None: its indexes do not tell. The stream's position moves.

    Raises:
        OSError: it cannot be read.
    """
    try:
        end = stream.seek(0, io.SEEK_END)
        size = 0
        for _ in range(_MOST_STREAMS):
            end = _without_padding(stream, end)
            end, unpacked = _last_stream(stream, end)
            size += unpacked
            if end == 0:
                return size
    except _OddError:
        return None
    return None


def _last_stream(stream: IO[bytes], end: int) -> tuple[int, int]:
    """Return where the stream that ends here begins, and what it unpacks to (2.1, 4)."""
    footer = _at(stream, end - _FOOTER_BYTES, _FOOTER_BYTES)
    _require(footer.endswith(_FOOTER_MAGIC) and _crc(footer[4:10]) == footer[:4])
    index_bytes = (int.from_bytes(footer[4:8], "little") + 1) * 4
    _require(index_bytes <= _MOST_INDEX_BYTES)
    index = _at(stream, end - _FOOTER_BYTES - index_bytes, index_bytes)
    _require(index[:1] == b"\0" and _crc(index[:-4]) == index[-4:])
    count, at = _number(index, 1)
    packed, unpacked = 0, 0
    for _ in range(count):
        unpadded, at = _number(index, at)
        size, at = _number(index, at)
        packed += (unpadded + 3) // 4 * 4
        unpacked += size
    begin = end - _FOOTER_BYTES - index_bytes - packed - _FOOTER_BYTES
    header = _at(stream, begin, _FOOTER_BYTES)
    _require(header.startswith(_MAGIC) and header[6:8] == footer[8:10])
    return begin, unpacked


def _without_padding(stream: IO[bytes], end: int) -> int:
    """Return where the last stream ends: zeros may follow it, in fours (2.2)."""
    while True:
        begin = max(0, end - _PADDING_PIECE_BYTES)
        piece = _at(stream, begin, end - begin).rstrip(b"\0")
        if piece or not begin:
            _require((end - begin - len(piece)) % 4 == 0)
            return begin + len(piece)
        end = begin


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, lowest first, and where what follows it begins (1.2)."""
    value = 0
    for place in range(9):
        _require(at + place < len(data))
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise _OddError


def _at(stream: IO[bytes], offset: int, size: int) -> bytes:
    _require(offset >= 0)
    stream.seek(offset)
    data = stream.read(size)
    _require(len(data) == size)
    return data


def _crc(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")


def _require(condition: bool) -> None:  # noqa: FBT001 - a condition is what it takes
    if not condition:
        raise _OddError
