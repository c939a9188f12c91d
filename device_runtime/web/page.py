"""The live page as a sink: it keeps the newest prediction, and a server in threads of its own shows it."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from device_runtime.annotate import Annotator, to_jpeg
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import PageSpec, Region
from device_runtime.errors import EdgeError
from device_runtime.telemetry import Telemetry
from device_runtime.vision.raw import AnyFrame
from device_runtime.web.access import Gate, Names, read_token
from device_runtime.web.app import Parts, make_app
from device_runtime.web.encoder import Encoder
from device_runtime.web.guard import Guard
from device_runtime.web.listener import open_listener
from device_runtime.web.pictures import Pictures
from device_runtime.web.server import Server

_QUALITY = 80
STALLED_S = 15.0
"""A connection that takes nothing, or sends no request, for so long is ended: its place is for others."""


class Page:
    """Shows what the application sees and does (docs/guides/live-page.md)."""

    name = "page"
    vital = False
    depth = 0
    events_only = False

    def __init__(
        self,
        spec: PageSpec,
        telemetry: Telemetry,
        regions: Mapping[str, Region] | None = None,
        *,
        stalled_s: float = STALLED_S,
    ) -> None:
        """Prepare a page; nothing is opened before ``start``.

        Raises:
            UsageError: it is to be seen from other machines, and has no token or a weak one.
            EdgeError: the token's file cannot be read, or everybody can read it.
        """
        self._spec = spec
        self._telemetry = telemetry
        self._token = read_token(spec)
        self._stalled_s = stalled_s
        self._annotator = Annotator(regions)
        self._encoder = Encoder(spec.fps, self._jpeg, self._show)
        self._pictures: Pictures | None = None
        self._server: Server | None = None
        self._port = spec.port

    @property
    def url(self) -> str:
        """Where the page is, once it has started."""
        host = self._spec.host
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound: any address, so the machine's name does
            host = socket.gethostname()
        return f"http://[{host}]:{self._port}/" if ":" in host else f"http://{host}:{self._port}/"

    @property
    def encoded(self) -> int:
        """How many pictures were made: none while nobody looks."""
        return self._encoder.encoded

    @property
    def viewers(self) -> int:
        """How many see the video."""
        return self._pictures.viewers if self._pictures else 0

    def start(self) -> None:
        """Open the port and answer from now on.

        Raises:
            EdgeError: the port or host cannot be had.
        """
        listener = open_listener(self._spec.host, self._spec.port, self._stalled_s)
        self._port = listener.getsockname()[1]
        self._server = Server(listener, self._make_app, self._stop_app, self._stalled_s)
        self._encoder.start()
        try:
            self._server.start()
        except BaseException:
            self.close(failed=True)
            raise
        self._telemetry.watch_viewers(lambda: self.viewers)

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Keep the newest prediction. Raises EdgeError when the picture before could not be made."""
        self._encoder.offer(frame, prediction)
        if self._encoder.failed:
            raise EdgeError(self._encoder.take_error())

    def close(self, *, failed: bool) -> None:
        """Let all viewers go and stop."""
        del failed
        self._encoder.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _make_app(self) -> Guard:
        self._pictures = Pictures(self._spec.viewers, self._encoder.look)
        gate, names = Gate(self._token), Names(self._spec)
        return make_app(Parts(self._telemetry, self._encoder, self._pictures, gate, names))

    def _stop_app(self) -> None:
        if self._pictures is not None:
            self._pictures.close()

    def _jpeg(self, frame: AnyFrame, prediction: Prediction) -> bytes:
        return to_jpeg(self._annotator.small(frame, prediction, self._spec.width), _QUALITY, frame).tobytes()

    def _show(self, picture: bytes) -> None:
        if self._pictures is not None:
            self._pictures.show(picture)
