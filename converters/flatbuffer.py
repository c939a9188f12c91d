"""A reader for FlatBuffers tables that checks every offset: a damaged file gives an error, never a crash.

The format is FlatBuffers' "internals" page: little-endian; a table begins with a signed distance to its vtable, which
holds the table's fields as 16-bit offsets; strings and vectors are 32-bit counts followed by their elements.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SIZES = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}


class DamagedError(ValueError):
    """An offset or a count points outside the file."""


@dataclass(frozen=True)
class Table:
    """One table at ``position`` (bytes from the start) of ``data``. Absent fields read as their defaults."""

    data: bytes
    position: int

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """Return an integer field; ``kind`` is its ``struct`` letter."""
        at = self._field(slot)
        return default if at is None else int(_read(self.data, kind, at))

    def real(self, slot: int, default: float = 0.0) -> float:
        """Return a 32-bit float field."""
        at = self._field(slot)
        return default if at is None else _read(self.data, "f", at)

    def text(self, slot: int) -> str:
        """Return a string field, empty when it is absent; what is not UTF-8 is replaced."""
        at = self._field(slot)
        if at is None:
            return ""
        return self.content(slot).decode("utf-8", errors="replace")

    def content(self, slot: int) -> bytes:
        """Return the bytes of a string or of a vector of bytes."""
        start, count = self._vector(slot, 1)
        return self.data[start : start + count]

    def numbers(self, slot: int, kind: str) -> tuple[float, ...]:
        """Return a vector of numbers."""
        start, count = self._vector(slot, _SIZES[kind])
        return struct.unpack_from(f"<{count}{kind}", self.data, start)

    def integers(self, slot: int, kind: str = "i") -> tuple[int, ...]:
        """Return a vector of integers."""
        return tuple(int(value) for value in self.numbers(slot, kind))

    def count(self, slot: int, size: int = 1) -> int:
        """Return how many elements of ``size`` bytes a vector has."""
        return self._vector(slot, size)[1]

    def table(self, slot: int) -> Table | None:
        """Return the table that a field refers to."""
        at = self._field(slot)
        return None if at is None else _follow(self.data, at)

    def tables(self, slot: int) -> list[Table]:
        """Return a vector of tables."""
        start, count = self._vector(slot, 4)
        return [_follow(self.data, start + 4 * index) for index in range(count)]

    def _field(self, slot: int) -> int | None:
        vtable = self.position - int(_read(self.data, "i", self.position))
        entry = 4 + 2 * slot
        if entry + 2 > int(_read(self.data, "H", vtable)):
            return None
        offset = int(_read(self.data, "H", vtable + entry))
        return self.position + offset if offset else None

    def _vector(self, slot: int, size: int) -> tuple[int, int]:
        at = self._field(slot)
        if at is None:
            return 0, 0
        start = at + int(_read(self.data, "I", at))
        count = int(_read(self.data, "I", start))
        if start + 4 + count * size > len(self.data):
            raise DamagedError(f"a list of {count} at byte {start} reaches beyond the end ({len(self.data)} bytes)")
        return start + 4, count


def root(data: bytes, identifier: bytes) -> Table:
    """Return the root table of a buffer whose bytes 4–7 are ``identifier``.

    Raises:
        DamagedError: they are not, or the buffer is too short.
    """
    if data[4:8] != identifier:
        raise DamagedError(f"expected {identifier!r} at byte 4, got {data[4:8]!r}")
    return _follow(data, 0)


def _follow(data: bytes, at: int) -> Table:
    position = at + int(_read(data, "I", at))
    _read(data, "i", position)
    return Table(data, position)


def _read(data: bytes, kind: str, at: int) -> float:
    if at < 0 or at + _SIZES[kind] > len(data):
        raise DamagedError(f"an offset points to byte {at} of {len(data)}")
    value: float = struct.unpack_from("<" + kind, data, at)[0]
    return value
