"""The newest picture on its way to viewers: each gets it when ready for one, and none waits for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.types import Message, Receive, Scope, Send

_BOUNDARY = b"edgekit-picture"

Look = Callable[[int], None]


class Pictures:
    """Hands pictures to viewers. Everything but ``show`` happens in the server's event loop."""

    def __init__(self, limit: int, look: Look) -> None:
        """Let at most ``limit`` viewers in; ``look`` is told how many there are."""
        self.viewers = 0
        self._limit = limit
        self._look = look
        self._number = 0
        self._picture = b""
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def full(self) -> bool:
        """Whether no further viewer is let in."""
        return self.viewers >= self._limit

    def show(self, picture: bytes) -> None:
        """Give viewers a new picture; called from the encoder's thread."""
        with contextlib.suppress(RuntimeError):  # the loop may have ended
            self._loop.call_soon_threadsafe(self._publish, picture)

    def close(self) -> None:
        """End all streams."""
        self._closing.set()
        self._changed.set()

    def _publish(self, picture: bytes) -> None:
        self._number += 1
        self._picture = picture
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next(self, seen: int) -> tuple[int, bytes]:
        """Wait until there is a newer picture than number ``seen``, or the end."""
        while self._number == seen and not self._closing.is_set():
            await self._changed.wait()
        return self._number, self._picture

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one viewer with ``multipart/x-mixed-replace`` until it goes away, stalls, or all ends."""
        del scope
        self.viewers += 1
        self._look(self.viewers)
        try:
            sender = asyncio.ensure_future(self._send_all(send))
            enders = [asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._closing.wait())]
            await asyncio.wait([sender, *enders], return_when=asyncio.FIRST_COMPLETED)
            for task in (sender, *enders):
                task.cancel()
            await asyncio.gather(sender, *enders, return_exceptions=True)
        finally:
            self.viewers -= 1
            self._look(self.viewers)
            if not self.viewers:
                # A viewer that comes later is not shown what was seen last, but what is there then.
                self._number, self._picture = self._number + 1, b""
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_all(self, send: Send) -> None:
        await send(_start())
        number = 0
        while not self._closing.is_set():
            number, picture = await self._next(number)
            if picture:
                await send({"type": "http.response.body", "body": _part(picture), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _start() -> Message:
    headers = [
        (b"content-type", b"multipart/x-mixed-replace; boundary=" + _BOUNDARY),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _part(picture: bytes) -> bytes:
    head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (_BOUNDARY, len(picture))
    return head + picture + b"\r\n"
