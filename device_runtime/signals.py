"""Signals: leaving by them in good order, and their names for people."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from device_runtime.errors import Interrupted


def interrupt_on(*numbers: signal.Signals) -> None:
    """Let these signals leave by the same way as Ctrl-C, so that everything half-written is removed."""
    for number in numbers:
        signal.signal(number, _interrupt)


def leave(code: int) -> NoReturn:
    """End the process with ``code``, also when a thread hangs in a driver or at a pipe that nobody reads.

    Python would wait for such a thread's lock on stdout, or let it run into what is being torn down. What must be
    complete is complete before this is called.
    """
    if any(thread is not threading.main_thread() for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9; a number without a name is said as it is."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise Interrupted("interrupted; nothing was left half-written")
