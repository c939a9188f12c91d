"""A process that is spoken to through its standard input and output, in lines and bytes; everything is bounded."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import IO

from device_runtime.errors import UnfitError

_MAX_LINE_BYTES = 8 << 20
"""A status with the digests of some thousand blobs is below 1 MiB."""
_MAX_LINES = 1000
_KEPT_BYTES = 32768
_END_S = 10.0
_POLL_S = 0.1


class Stopper:
    """Stops conversations from another thread: those that run, and those that begin afterwards."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channels: set[Channel] = set()
        self.stopped = False

    def add(self, channel: Channel) -> None:
        """Let ``channel`` be stopped too."""
        with self._lock:
            self._channels.add(channel)
            stopped = self.stopped
        if stopped:
            channel.stop()

    def remove(self, channel: Channel) -> None:
        """Forget a channel that ended."""
        with self._lock:
            self._channels.discard(channel)

    def stop(self) -> None:
        """Stop them all."""
        with self._lock:
            self.stopped = True
            channels = tuple(self._channels)
        for channel in channels:
            channel.stop()


class Channel:
    """A running process, its lines as they come, and the end of its complaints.

    Threads read both of its outputs, so that neither side ever waits for the other to read.
    """

    def __init__(self, words: Sequence[str], *, own_session: bool, settle_s: float) -> None:
        """Start a process.

        Args:
            words: what to start.
            own_session: keep it away from the terminal: Ctrl-C does not reach it, and it cannot ask the user.
            settle_s: how long it may take to put things in order when it is stopped.

        Raises:
            UnfitError: this machine does not have the program.
        """
        self._settle_s = settle_s
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=own_session,
                env={**os.environ, "LC_ALL": "C"},  # the system's own reasons in English too
            )
        except FileNotFoundError as error:
            raise UnfitError(
                f"this machine has no {words[0]}",
                hint="sudo apt-get install openssh-client" if words[0] == "ssh" else "",
            ) from error
        self._input: int = self._process.stdin.fileno()  # type: ignore[union-attr] # it is a pipe
        os.set_blocking(self._input, False)
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MAX_LINES)
        self._said = b""
        self._ended = False
        self._spoke = threading.Event()
        self._readers = [
            threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_complaints, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def said(self) -> str:
        """The end of what the process wrote to its standard error output."""
        return self._said.decode("utf-8", "replace")

    def write(self, content: bytes | memoryview, timeout_s: float) -> int | None:
        """Write a part of some bytes within a time; return how many, or None when the process hung up."""
        try:
            if not select.select([], [self._input], [], timeout_s)[1]:
                return 0
            return os.write(self._input, content)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return None

    def wait(self, timeout_s: float) -> bool:
        """Return whether anything came, or the end of it, within some time."""
        return self._spoke.wait(timeout_s)

    def waiting(self) -> bool:
        """Return whether a line can be read at once."""
        return not self._lines.empty()

    def line(self, timeout_s: float | None = None) -> bytes | None:
        """Return the next line, or None at the end. Raises TimeoutError when none came in time."""
        if self._ended:
            return None
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            raise TimeoutError from error
        self._ended = line is None
        return line

    def end(self) -> int:
        """Say no more, wait for the process to end, and return its exit code; one that does not end is stopped."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr] # it is a pipe
        until = time.monotonic() + _END_S
        while not self._ended and time.monotonic() < until:
            with contextlib.suppress(TimeoutError):
                self.line(_POLL_S)
        try:
            self._process.wait(max(_POLL_S, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
        for reader in self._readers:
            reader.join(_POLL_S)  # a grandchild may hold the pipes open for ever
        return self._process.wait()

    def stop(self) -> None:
        """Ask the process to end, wait until it has put things in order, and kill one that does not."""
        self._process.terminate()
        try:
            self._process.wait(self._settle_s)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read_lines(self, stream: IO[bytes]) -> None:
        with stream:
            pending = b""
            while piece := os.read(stream.fileno(), 65536):
                self._spoke.set()
                *lines, pending = (pending + piece).split(b"\n")
                for line in lines:
                    self._lines.put(line)
                if len(pending) > _MAX_LINE_BYTES:
                    self._process.kill()
                    break
            if pending:
                self._lines.put(pending)
        self._spoke.set()
        self._lines.put(None)

    def _read_complaints(self, stream: IO[bytes]) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65536):
                self._said = (self._said + piece)[-_KEPT_BYTES:]
