"""Reads the pulse that a release writes: whatever is in that file, it can at worst be ignored."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import stat
from pathlib import Path
from typing import NoReturn, Optional

from device_runtime.contract.decode import decode
from device_runtime.contract.pulse import Pulse
from device_runtime.errors import BadFileError

_MOST_BYTES = 65536
_MOST_REASONS = 8
_MOST_LETTERS = 200


def read_pulse(path: Path) -> Optional[Pulse]:
    """Return the pulse in a file, its reasons cut to what can be shown; None where there is none that makes sense."""
    try:
        # A pipe in its place must not keep anybody waiting, and a link not lead elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = os.read(descriptor, _MOST_BYTES + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return _pulse(content) if len(content) <= _MOST_BYTES else None


def _pulse(content: bytes) -> Optional[Pulse]:
    try:
        pulse = decode(Pulse, json.loads(content, parse_constant=_refuse), "the pulse")
    except (ValueError, RecursionError, BadFileError):
        return None
    figures = (pulse.beat_s, pulse.uptime_s, pulse.fps, pulse.p95_ms or 0.0)
    if not all(math.isfinite(figure) for figure in figures):
        return None
    shown = tuple(_shown(reason) for reason in pulse.reasons[:_MOST_REASONS])
    return dataclasses.replace(pulse, reasons=shown)


def _shown(reason: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in reason[:_MOST_LETTERS])


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"expected a number, got {constant}")
