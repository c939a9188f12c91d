"""A root shell on the machine, over a virtio port: this side of tests/machine/guest_agent.py."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_AFTER_S = 10


class GoneError(Exception):
    """The machine went away, or did not answer in time."""


class Shell:
    """Asks the machine one thing at a time. It answers from early in its boot on, and what is asked before waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = itertools.count(1)

    def run(self, words: Sequence[str], stdin: str, limit_s: float) -> subprocess.CompletedProcess[str]:
        """Run a program on it. Raises GoneError."""
        told = self._ask({"words": list(words), "stdin": stdin, "limit_s": limit_s}, limit_s)
        return subprocess.CompletedProcess(list(words), told["code"], told["out"], told["err"])

    def wait_for(self, patterns: Sequence[str], text: str, limit_s: float) -> str | None:
        """Return the first path of some patterns that is there, holding a text; None after the limit.

        Raises:
            GoneError: the machine went away meanwhile.
        """
        told = self._ask({"until": list(patterns), "text": text, "limit_s": limit_s}, limit_s)
        return told["out"] if told["code"] == 0 else None

    def _ask(self, request: dict, limit_s: float) -> dict:
        number = next(self._ids)
        until = time.monotonic() + limit_s + _AFTER_S
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.settimeout(limit_s + _AFTER_S)
                line.connect(str(self._path))
                line.sendall(json.dumps({"id": number, **request}).encode() + b"\n")
                pending = b""
                while time.monotonic() < until:
                    piece = line.recv(1 << 16)
                    if not piece:
                        break
                    *answers, pending = (pending + piece).split(b"\n")
                    for answer in map(_parsed, answers):  # others are of requests that were given up
                        if answer.get("id") == number:
                            return answer
            except OSError as error:
                raise GoneError(f"{self._path}: {error}") from error
        raise GoneError(f"{self._path}: no answer to {str(request)[:200]}")


def _parsed(line: bytes) -> dict:
    try:
        return json.loads(line)
    except ValueError:
        return {}  # the rest of one that was cut
