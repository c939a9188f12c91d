"""Tells systemd how a service is doing: ``sd_notify(3)`` and ``sd_watchdog_enabled(3)`` with the standard library."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import socket

_LONGEST_STATUS = 400
_PREFIXES = {"error": "<3>", "warning": "<4>", "info": "<6>"}
"""Levels as journald reads them at the beginning of a line (``sd-daemon(3)``, SD_ERR, SD_WARNING, SD_INFO)."""


class Notifier:
    """Sends datagrams to a service manager, or nothing where there is none. It never waits, and never fails."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        """Speak to the socket at ``address``: a path, or ``@NAME`` in the abstract namespace.

        ``watchdog_s`` is how long the manager waits for a sign of life; None for ever.
        """
        self.watchdog_s = watchdog_s
        self._address: str | bytes | None = None
        self._socket: socket.socket | None = None
        if address:
            # unix(7): names in the abstract namespace begin with a zero byte, for which sd_notify(3) writes "@".
            self._address = b"\0" + os.fsencode(address[1:]) if address.startswith("@") else address
            import socket  # noqa: PLC0415 - 3 ms, which runs without a manager need not

            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(0)

    def send(self, **assignments: object) -> None:
        """Send variables in one datagram: ``send(READY=1, STATUS="running")``. Values are put on one line each."""
        if self._socket is None or self._address is None:
            return
        text = "\n".join(f"{name}={_one_line(value)}" for name, value in assignments.items())
        # A manager whose queue is full hears of the next one: a loop must not wait for it.
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)

    def close(self) -> None:
        """Let go of the socket; what is sent from now on goes nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def take_notifier(environment: MutableMapping[str, str], pid: int | None = None) -> Notifier:
    """Return the way to the manager that ``environment`` tells of, and take it away from child processes."""
    address = environment.pop("NOTIFY_SOCKET", None)
    text, owner = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    mine = not owner or owner == str(os.getpid() if pid is None else pid)
    watchdog_s = int(text) / 1e6 if mine and text.isascii() and text.isdigit() and int(text) else None
    # sd_notify(3) knows vsock addresses too, for virtual machines; this speaks to the manager of its own machine.
    return Notifier(address if address and address[0] in "/@" and len(address) > 1 else None, watchdog_s)


def level_prefix(level: str, stream: TextIO, environment: Mapping[str, str]) -> str:
    """Return what tells the journal a line's level (``error``, ``warning``, ``info``); elsewhere nothing.

    ``JOURNAL_STREAM`` has the device and inode of what the manager connected to the journal (``systemd.exec(5)``).
    """
    with contextlib.suppress(OSError, ValueError):
        found = os.fstat(stream.fileno())
        if environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}":
            return _PREFIXES[level]
    return ""


def _one_line(value: object) -> str:
    """Return a value without line ends: each line would be another assignment, and texts come from afar."""
    return " ".join(str(value).split())[:_LONGEST_STATUS]
