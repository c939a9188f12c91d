"""Files with holes where they are zero: an image of a card is mostly that."""

from __future__ import annotations

import os
from collections.abc import Iterator

HOLE_BYTES = 64 << 10
"""A file has a hole where as many bytes, at a multiple of them, are zero."""

_HOLE = bytes(HOLE_BYTES)


def write_sparse(descriptor: int, at: int, content: bytes) -> None:
    """Write what is not zero of ``content``, for a file that is zero there. Raises OSError."""
    with memoryview(content) as memory:
        for start, end in _full(content):
            done = start
            while done < end:
                done += os.pwrite(descriptor, memory[done:end], at + done)


def _full(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield where what is not zero begins and ends, in multiples of HOLE_BYTES."""
    start = None
    for place in range(0, len(content), HOLE_BYTES):
        empty = content.startswith(_HOLE[: len(content) - place], place)
        if start is None and not empty:
            start = place
        elif start is not None and empty:
            yield start, place
            start = None
    if start is not None:
        yield start, len(content)
