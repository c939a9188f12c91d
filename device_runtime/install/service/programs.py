"""The system's own programs, as keepers call them: argument lists, in English, never for ever."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Protocol

from device_runtime.errors import EdgeError

NOT_FOUND = 127
"""The code of a program that is not there, as a shell gives it."""
TIMED_OUT = 124
"""The code of a program that did not end in time, as timeout(1) gives it."""
_LIMIT_S = 120.0
"""systemd kills what does not stop within 15 s; the rest is for a board that is slow."""
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")
"""A command over SSH may have a user's path, without the administrator's programs."""
_LAST_BYTES = 4096


@dataclass(frozen=True)
class Completed:
    """How a program ended, and what it said."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def said(self) -> str:
        """The last line that it said of an error, or how it ended."""
        lines = self.err.strip().splitlines() or self.out.strip().splitlines()
        return lines[-1].strip()[:500] if lines else f"it ended with {self.code}"


class Programs(Protocol):
    """What runs them."""

    def run(self, words: Sequence[str]) -> Completed:
        """Run a program to its end. One that is missing ends with ``NOT_FOUND``, one without end with ``TIMED_OUT``."""

    def lines(self, words: Sequence[str]) -> Iterator[str]:
        """Yield what a program prints, line by line, as it comes; it is ended with the iterator. Raises EdgeError."""


class SystemPrograms:
    """Those of this machine."""

    def __init__(self, runtime: Optional[Path] = None) -> None:
        """Run them with ``runtime`` as the user's run-time folder, in which their systemd listens."""
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith(("SYSTEMD_", "LC_"))}
        known = [folder for folder in self._environment.get("PATH", "").split(os.pathsep) if folder]
        self._environment["PATH"] = os.pathsep.join([*known, *(folder for folder in _SBIN if folder not in known)])
        self._environment.update(LC_ALL="C", SYSTEMD_PAGER="", SYSTEMD_COLORS="0")
        if runtime is not None:
            self._environment["XDG_RUNTIME_DIR"] = str(runtime)

    def run(self, words: Sequence[str]) -> Completed:
        """Run one, for two minutes at most."""
        try:
            done = subprocess.run(
                self._found(words),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_LIMIT_S,
                check=False,
            )
        except FileNotFoundError:
            return Completed(NOT_FOUND, err=f"{words[0]}: not found")
        except subprocess.TimeoutExpired:
            return Completed(TIMED_OUT, err=f"{words[0]}: no end within {_LIMIT_S:g} s")
        return Completed(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    def lines(self, words: Sequence[str]) -> Iterator[str]:
        """Yield its lines, and raise EdgeError when it fails."""
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    self._found(words),
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            except FileNotFoundError as error:
                raise EdgeError(f"{words[0]}: not found on this machine") from error
            try:
                for line in process.stdout or ():
                    yield line.decode("utf-8", "replace").rstrip("\n")
                code = process.wait()
            finally:
                _end(process)
            if code != 0:
                errors.seek(0)
                told = Completed(code, err=errors.read(_LAST_BYTES).decode("utf-8", "replace"))
                raise EdgeError(f"{words[0]}: {told.said}")

    def _found(self, words: Sequence[str]) -> list[str]:
        """Return the words with the program's whole path: the one of this process may lack a folder."""
        for folder in self._environment["PATH"].split(os.pathsep):
            path = Path(folder, words[0])
            if os.access(path, os.X_OK) and path.is_file():
                return [str(path), *words[1:]]
        raise FileNotFoundError(words[0])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
