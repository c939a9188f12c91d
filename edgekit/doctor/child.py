"""Asks a question in a process of its own: what crashes or hangs there is an answer too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from device_runtime.signals import signal_name

PYTHON = (sys.executable, "-P")
"""This Python. ``-P``: a ``numpy.py`` in the user's folder is not the one that is meant."""

PROBE = (*PYTHON, "-m", "edgekit.doctor.probe")

_TIMEOUT_S = 120.0
"""TensorFlow's import takes 4–6 s from a warm disk, and a minute from a cold SD card."""

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


@dataclass(frozen=True)
class Reply:
    """What the process said. ``problem`` is empty when it did what it was asked."""

    text: str = ""
    problem: str = ""
    hint: str = ""


def ask(command: Sequence[str], timeout_s: float = _TIMEOUT_S) -> Reply:
    """Run a command; return what it printed, or how it failed."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=timeout_s, check=False, env={**os.environ, **_QUIET}, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Reply(problem=f"no answer for {timeout_s:g} s")
    except OSError as error:
        return Reply(problem=f"cannot start {command[0]}: {(error.strerror or str(error)).lower()}")
    if done.returncode == 0:
        return Reply(done.stdout.strip())
    if done.returncode < 0:
        return Reply(problem=f"crashed: {signal_name(-done.returncode)}{_last(done.stderr)}")
    return _told(done.stdout) or Reply(
        done.stdout.strip(), f"ended with exit code {done.returncode}{_last(done.stderr)}"
    )


def _told(text: str) -> Reply | None:
    """Read what a probe says of its own failure."""
    try:
        told = json.loads(text)
        return Reply(problem=str(told["problem"]), hint=str(told["hint"]))
    except (ValueError, KeyError, TypeError):
        return None


def _last(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""
