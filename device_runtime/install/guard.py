"""A process that does what another one has to leave in order, when that is killed before it could."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

from device_runtime.install.pack import own_digest


class Guard:
    """Watches the process that makes it, until ``dismiss``; when that is gone before, it does its duty.

    It is a copy of that process with all that it knows, in a session of its own: what ends the connection does not end
    it. The locks that are held when it is made are held until it has ended, too.
    """

    def __init__(self, duty: Callable[[], object]) -> None:
        """Begin to watch. Raises OSError when the system has no process left."""
        own_digest()  # whoever runs from a zip in memory knows it while it is there
        watched, self._alive = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._alive)
                _keep(watched, duty)
            finally:
                os._exit(0)  # nothing of the other's is to be unwound here
        os.close(watched)

    def dismiss(self) -> None:
        """Let it go, and wait until it has."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._alive, b".")
        os.close(self._alive)
        os.waitpid(self._pid, 0)


def _keep(watched: int, duty: Callable[[], object]) -> None:
    os.setsid()
    # Handlers, because what is ignored would be ignored by whatever is started here, too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _wait_on)
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)  # the connection ends when nobody has it any more
    if not os.read(watched, 1):
        with contextlib.suppress(Exception):
            duty()


def _wait_on(*_: object) -> None:
    """Go on: systemd ends a login's processes politely before it kills them."""
