"""Predictions and events as JSON lines."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from pathlib import Path
from typing import Literal, TextIO

from device_runtime.contract.prediction import Prediction, json_line
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import refused
from device_runtime.vision.raw import AnyFrame

What = Literal["events", "predictions"]

_MB = 1_000_000
_TAIL_BYTES = 1 << 20


def lines_of(prediction: Prediction, what: What) -> list[str]:
    """Return the JSON lines, without their ends, of a prediction: itself, or each of its events."""
    return [json_line(event) for event in prediction.events] if what == "events" else [json_line(prediction)]


class JsonLines:
    """Writes one line per prediction, at once, so that a reader on the other end of a pipe sees it."""

    name = "jsonl"
    vital = True
    depth = 4
    events_only = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Write ``prediction``; its keys are the fields of ``contract.prediction.Prediction``.

        Raises:
            EdgeError: nobody reads any more, or the disk behind it is full.
        """
        del frame
        try:
            self._stream.write(json_line(prediction) + "\n")
            self._stream.flush()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise EdgeError(f"cannot write predictions to {self._stream.name}: {reason}") from error

    def close(self, *, failed: bool) -> None:
        """Leave the stream open: it is its owner's."""
        del failed


class JsonLinesFile:
    """Appends whole lines to a file; at half of its budget the file becomes ``NAME.1`` and a new one begins."""

    name = "jsonl-file"
    vital = False
    depth = 8

    def __init__(self, path: Path, what: What, budget_mb: int) -> None:
        """Open ``path``, which goes on where it ended; its folder is made.

        Raises:
            EdgeError: it cannot be written.
            BadFileError: it is something else than JSON lines.
        """
        self.events_only = what == "events"
        self._what = what
        self._path = path
        self._old = path.with_name(path.name + ".1")
        self._most_bytes = budget_mb * _MB // 2
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open()
            with contextlib.ExitStack() as unused:
                unused.callback(self._file.close)
                self._bytes = _cut_unfinished(self._file, path)
                unused.pop_all()
        except OSError as error:
            raise refused(error, path, "write") from error

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Append what there is to say of ``prediction``. Raises EdgeError when the disk refuses."""
        del frame
        for line in lines_of(prediction, self._what):
            try:
                self._append((line + "\n").encode())
            except OSError as error:
                raise refused(error, self._path, "write") from error

    def close(self, *, failed: bool) -> None:
        """Close the file; every line in it is whole."""
        del failed
        self._file.close()

    def _open(self) -> io.FileIO:
        return io.FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")

    def _begin_anew(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # somebody else has put it away
            self._path.replace(self._old)
        before = self._file
        self._file, self._bytes = self._open(), 0
        before.close()

    def _append(self, line: bytes) -> None:
        if self._bytes and self._bytes + len(line) > self._most_bytes:
            self._begin_anew()
        try:
            written = self._file.write(line)
        except OSError:
            written = -1
            raise
        finally:
            # A full disk takes a part of a line: what is not whole is taken back.
            if written != len(line):
                self._file.truncate(self._bytes)
                self._file.seek(self._bytes)
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # short writes to a file have no other reason
        self._bytes += len(line)


def _cut_unfinished(file: io.FileIO, path: Path) -> int:
    """Go to the end of a file's last whole line and return where that is: a line that a power cut halved is removed."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - _TAIL_BYTES)
    file.seek(begin)
    tail = file.read(_TAIL_BYTES)
    whole = begin + tail.rfind(b"\n") + 1
    if size and whole == begin == 0 and not tail.startswith(b"{"):
        raise BadFileError(f"{path}: expected JSON lines, got something else", hint="choose another path")
    if whole < size:
        if begin and whole == begin:
            raise BadFileError(f"{path}: expected JSON lines, got a line of more than {_TAIL_BYTES} bytes")
        file.truncate(whole)
    file.seek(whole)
    return whole
