"""The host at the other end of the connection, as it is heard: lines, and exactly as many bytes as it said."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from typing import Optional

from device_runtime.errors import BadFileError, EdgeError

SILENCE_S = 60.0
"""A host that owes bytes and sends none for so long is gone; TCP alone would notice hours later."""
PATIENCE_S = 600.0
"""How long a host that owes nothing may take to say what it wants."""
MAX_LINE_BYTES = 1 << 20
"""A request with 64 KiB of signers, each letter spelt ``\\uXXXX``, is below half of it."""
_CHUNK_BYTES = 1 << 18


class HostGoneError(EdgeError):
    """The host hung up, or fell silent, in the middle of what it had to say."""

    code = "host-gone"


class Host:
    """Reads from a descriptor, never beyond what was asked for: who is executed in our place reads on."""

    def __init__(self, descriptor: int, silence_s: float = SILENCE_S, patience_s: float = PATIENCE_S) -> None:
        self._descriptor = descriptor
        self._silence_s = silence_s
        self._patience_s = patience_s

    def line(self, *, hurry: bool) -> Optional[str]:
        """Return the next line without its end, or None when the host hung up before it began one.

        Args:
            hurry: others wait for this conversation to end.

        Raises:
            HostGoneError: it fell silent, or hung up within the line.
            BadFileError: the line is too long, or no text.
        """
        content = bytearray()
        until = time.monotonic() + (self._silence_s if hurry else self._patience_s)
        while True:
            letter = self._read(1, until)
            if not letter and not content:
                return None
            if not letter:
                raise HostGoneError("the host hung up in the middle of a request")
            if letter == b"\n":
                break
            content += letter
            if len(content) > MAX_LINE_BYTES:
                raise BadFileError(f"the host's request: expected a line of at most {MAX_LINE_BYTES} bytes")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadFileError(
                f"the host's request: expected UTF-8 text, got byte 0x{content[error.start]:02x}"
            ) from error

    def payload(self, size: int) -> Iterator[bytes]:
        """Yield ``size`` bytes as they come. Raises HostGoneError when fewer do."""
        left = size
        while left:
            piece = self._read(min(left, _CHUNK_BYTES), time.monotonic() + self._silence_s)
            if not piece:
                raise HostGoneError(
                    f"the host hung up: expected {left} more bytes; what came is kept", hint="deploy once more"
                )
            left -= len(piece)
            yield piece

    def fileno(self) -> int:
        """Return what can be waited for, until the host says something or hangs up."""
        return self._descriptor

    def hung_up(self) -> bool:
        """Wait until the host says something or hangs up; return whether it hung up."""
        select.select([self._descriptor], [], [])
        return not os.read(self._descriptor, 1)

    def _read(self, size: int, until: float) -> bytes:
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise HostGoneError("the host says nothing any more; what came is kept", hint="deploy once more")
        return os.read(self._descriptor, size)
