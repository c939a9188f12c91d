"""A real HTTP server that answers posts as a test wants: slowly, wrongly, or not at all."""

import contextlib
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Keeps posts; ``script`` has what to do with each, and the last entry goes on for ever.

    An entry is a status, a (status, headers) pair, ``"hang"``, ``"reset"``, ``"drip"`` (a header that does not end),
    ``"endless"`` (a body that does not end) or ``"close"`` (answer, then close the connection without saying so).
    """

    def __init__(self, script=(200,), *, context=None):
        self.posts = []
        self.times = []
        self.connections = 0
        self._script = list(script)
        self._gone = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                receiver.connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.times.append(time.monotonic())
                receiver.posts.append((self.path, dict(self.headers), json.loads(body)))
                receiver._answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self):
        return self._server.server_port

    def keys(self):
        """Return the posts' keys, so far."""
        return [headers["Idempotency-Key"] for _, headers, _ in list(self.posts)]

    def close(self):
        self._gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler):
        what = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if what == "hang":
            self._gone.wait(60)
            handler.close_connection = True
            return
        if what == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            handler.close_connection = True
            return
        if what in ("drip", "endless"):
            begin = b"HTTP/1.1 200 OK\r\n" + (b"X-Slow: " if what == "drip" else b"\r\n")
            with contextlib.suppress(OSError):
                handler.wfile.write(begin)
                while not self._gone.wait(0.05):
                    handler.wfile.write(b"z")
            handler.close_connection = True
            return
        status, headers = what if isinstance(what, tuple) else (200 if what == "close" else what, {})
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")
        if what == "close":
            handler.close_connection = True
