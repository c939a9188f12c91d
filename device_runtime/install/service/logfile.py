"""A log of bounded size: a file and the one before it; written by one process, read by any."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Optional

from device_runtime.install.journal import now

LIMIT_BYTES = 1_000_000
_LONGEST_LINE_BYTES = 16384
_POLL_S = 0.2


class LogFile:
    """The writer. A disk that refuses loses lines, and nothing else."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        """Write at ``path``'s end; at ``limit_bytes`` it becomes the old one, and a new one begins."""
        self._path = path
        self._limit_bytes = limit_bytes
        self._pending = b""

    def feed(self, piece: bytes) -> None:
        """Take bytes as they come; whole lines are written, each with the time (UTC)."""
        *lines, self._pending = (self._pending + piece).split(b"\n")
        if len(self._pending) > _LONGEST_LINE_BYTES:
            lines.append(self._pending)
            self._pending = b""
        self._write(lines)

    def end(self) -> None:
        """Write what is left of a line that has no end."""
        lines, self._pending = [self._pending] if self._pending else [], b""
        self._write(lines)

    def say(self, line: str) -> None:
        """Write a line of the supervisor's own."""
        self.end()
        self._write([f"supervisor: {line}".encode()])

    def last(self) -> str:
        """Return the last line, without its time."""
        return next(iter(last_lines(self._path, 1)), "").partition(" ")[2]

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        stamp = now().encode()
        content = b"".join(stamp + b" " + line + b"\n" for line in lines)
        with contextlib.suppress(OSError):
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640
            )
            try:
                size = os.fstat(descriptor).st_size
                os.write(descriptor, content)
            finally:
                os.close(descriptor)
            if size + len(content) >= self._limit_bytes:
                self._path.replace(old_of(self._path))


def old_of(path: Path) -> Path:
    """Return where the part before a log is."""
    return path.with_name(f"{path.stem}.1{path.suffix}")


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last ``count`` lines, of the old part too. Raises OSError when it is there and cannot be read."""
    kept: deque[bytes] = deque(maxlen=max(0, count))
    for part in (old_of(path), path):
        with contextlib.suppress(FileNotFoundError), part.open("rb") as stream:
            kept.extend(stream)
    return [_text(line) for line in kept]


def lines_from_now(path: Path) -> Iterator[str]:
    """Yield the lines that come, without end, over every change to a new file. Raises OSError."""
    stream = _opened(path)
    if stream is not None:
        stream.seek(0, os.SEEK_END)
    pending = b""
    try:
        while True:
            while stream is not None and (piece := stream.readline()):
                pending += piece
                if pending.endswith(b"\n"):
                    yield _text(pending)
                    pending = b""
            following = _opened(path) if stream is None or _replaced(stream, path) else None
            if following is None:
                time.sleep(_POLL_S)
                continue
            if stream is not None:
                # What came between the last look and the change.
                yield from map(_text, (pending + stream.read()).splitlines())
                stream.close()
            stream, pending = following, b""
    finally:
        if stream is not None:
            stream.close()


def _opened(path: Path) -> Optional[BinaryIO]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _replaced(stream: BinaryIO, path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False  # the new one comes with its first line


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")
