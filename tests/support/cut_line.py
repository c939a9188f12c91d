"""A TCP connection that breaks off after so many bytes, and counts what it carried."""

import contextlib
import socket
import threading
import time

_RATE_BYTES_S = 8e6


class CutLine:
    """Listens on ``port`` and leads to another one. After ``limit`` bytes to there it hangs up on both; None: never.

    It is slow enough for the far side to keep up: what sshd has not handed on when the line is cut is lost.
    After ``stall_after`` bytes it carries no more, and is silent until the client hangs up. ``carried`` are the bytes
    that went there, over all connections.
    """

    def __init__(self, target_port):
        self.limit = None
        self.stall_after = None
        self.carried = 0
        self._open = []
        self._target = target_port
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(20)

    def cut(self):
        """Hang up on both sides of every connection that is open now."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            board = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, board]
            for words in ((self._carry_there, client, board), (self._carry_back, board, client)):
                self._threads.append(threading.Thread(target=words[0], args=words[1:], daemon=True))
                self._threads[-1].start()

    def _carry_there(self, client, board):
        rest = self.limit
        with contextlib.suppress(OSError):
            while piece := client.recv(65536 if rest is None else min(rest, 65536)):
                board.sendall(piece)
                with self._lock:
                    self.carried += len(piece)
                time.sleep(len(piece) / _RATE_BYTES_S)
                rest = None if rest is None else rest - len(piece)
                if rest == 0:
                    break
                if self.stall_after is not None and self.carried >= self.stall_after:
                    while client.recv(65536):
                        pass
        for end in (board, client):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR if end is board else socket.SHUT_RDWR)

    def _carry_back(self, board, client):
        with contextlib.suppress(OSError):
            while piece := board.recv(65536):
                # Also when nobody wants it any more: closed with something unread, TCP would take back what was sent.
                with contextlib.suppress(OSError):
                    client.sendall(piece)
        for end in (board, client):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
