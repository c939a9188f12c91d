"""A board's page on this machine's loopback, through SSH."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import IO

from device_runtime.errors import EdgeError, UnfitError
from edgekit.boards.errors import UnreachableError
from edgekit.boards.ssh import SshTarget, ssh_error, ssh_words
from edgekit.monitoring.client import PageClient

PAGE_PORT = 8080
_OPEN_S = 30.0
_ASKED_S = 300.0
"""With a user at the keyboard, who may have to find a password."""

_POLL_S = 0.05
_END_S = 5.0


class Tunnel:
    """An open tunnel: ``url`` leads to the board's page."""

    def __init__(self, target: SshTarget, port: int, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        """Hold a running ssh, which writes its complaints into ``said``."""
        self.url = f"http://127.0.0.1:{port}/"
        self._target = target
        self._port = port
        self._process = process
        self._said = said

    def wait(self) -> EdgeError:
        """Wait until the tunnel ends by itself, and return why."""
        self._process.wait()
        return self._error()

    def wait_open(self, timeout_s: float) -> None:
        """Wait until the board's page answers. Raises UnreachableError, with ssh's reason."""
        client, end = PageClient(self.url), time.monotonic() + timeout_s
        while not self._listens():
            if self._process.poll() is not None:
                raise self._error()
            if time.monotonic() > end:
                raise UnreachableError(f"{self._target}: ssh has not connected in {timeout_s:g} s")
            time.sleep(_POLL_S)
        if not client.answers():
            if self._process.poll() is not None:
                raise self._error()
            raise UnreachableError(
                f"{self._target}: the board is there, and no page is on its port",
                hint="is the application running, with [service.page] in its edgekit.toml? another port: --page-port",
            )

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), _POLL_S):
            return True
        return False

    def _error(self) -> EdgeError:
        self._said.seek(0)
        said = self._said.read().decode("utf-8", "replace")
        if "Address already in use" in said or "cannot listen to port" in said:
            return EdgeError(f"port {self._port} of this machine is in use", hint="choose another one with --port")
        return ssh_error(self._target, said)


@contextlib.contextmanager
def open_tunnel(target: SshTarget, *, page_port: int = PAGE_PORT, port: int = 0, ask: bool = False) -> Iterator[Tunnel]:
    """Open a tunnel to a board's page; it ends with the context.

    Args:
        target: the board.
        page_port: where its page listens, on its loopback.
        port: where it appears on this machine's; 0 picks a free one.
        ask: let ssh ask the user for passwords and unknown hosts.

    Raises:
        UnreachableError: the board, or the page on it, does not answer.
        UnfitError: this machine has no ssh.
        EdgeError: ``port`` is in use.
    """
    port = port or _free_port()
    forward = f"127.0.0.1:{port}:127.0.0.1:{page_port}"
    words = ssh_words(target, options=("-N", "-L", forward, "-o", "ExitOnForwardFailure=yes"), ask=ask)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, "LC_ALL": "C"},  # the system's own reasons in English too
            )
        except FileNotFoundError as error:
            raise UnfitError("ssh is not installed", hint="sudo apt-get install openssh-client") from error
        try:
            tunnel = Tunnel(target, port, process, said)
            tunnel.wait_open(_ASKED_S if ask else _OPEN_S)
            yield tunnel
        finally:
            _end(process)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
