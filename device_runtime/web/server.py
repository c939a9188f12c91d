"""An HTTP server in a thread of its own, with its own event loop; it stops within a second or two."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from device_runtime.errors import EdgeError

_HEAD_BYTES = 16384
_CONNECTIONS = 256
_KEEP_ALIVE_S = 15
_GRACE_S = 1

MakeApp = Callable[[], ASGIApp]


class Server:
    """Serves one application on a listening socket."""

    def __init__(
        self, listener: socket.socket, make_app: MakeApp, stop_app: Callable[[], None], patience_s: float
    ) -> None:
        """Serve what ``make_app`` makes in the event loop; ``stop_app`` is called there before the end.

        A connection has ``patience_s`` to send a request: uvicorn itself would wait for ever.
        """
        self._listener = listener
        self._make_app = make_app
        self._stop_app = stop_app
        self._patience_s = patience_s
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="page-server", daemon=True)

    def start(self) -> None:
        """Start the thread, and return when connections are answered."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise EdgeError(f"the page's server did not start: {self._failure}") from self._failure

    def close(self) -> None:
        """End all connections and the thread."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told to whoever waits in start()
            self._failure = error
        finally:
            self._ready.set()
            self._listener.close()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = uvicorn.Config(
            self._make_app(),
            http=type("Protocol", (_ImpatientProtocol,), {"patience_s": self._patience_s}),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        server = _Announcing(config, self._ready)
        serving = asyncio.ensure_future(server.serve(sockets=[self._listener]))
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        self._stop_app()
        while not serving.done():
            await asyncio.wait([serving], timeout=_GRACE_S / 2)
            # What did not end by itself by now does not read what it is sent.
            for connection in list(server.server_state.connections):
                connection.transport.abort()
        await serving


class _Announcing(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._ready.set()


class _ImpatientProtocol(H11Protocol):
    """Ends connections that do not come to the point, and those above a number."""

    patience_s = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Read; a request's head has to be complete in time, whenever its first byte came."""
        if self._deadline is None and self._idle():
            self._expect()
        super().data_received(data)
        if not self._idle():
            self._relax()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._relax()
        super().connection_lost(exc)

    def _idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(self.patience_s, self.transport.abort)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
