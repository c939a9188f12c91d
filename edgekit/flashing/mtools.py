"""Runs the programs of mtools on one FAT: with nothing of the user's settings, and with nobody to ask."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device_runtime.errors import BadFileError, EdgeError, UnfitError
from device_runtime.files import refused

_TIMEOUT_S = 1800.0  # for 4 GiB on the slowest of cards
_SAID = 200
# 1980-01-01, the first time that a FAT can tell. mtools 4.0.32 honours it; a test holds those that are here to it.
_EPOCH = "315532800"
# What no name on a FAT may have, and the signs of mtools' patterns.
_BAD_IN_NAMES = re.compile(r'[\x00-\x1f\x7f"*:<>?\\|\[\]]')
_LONGEST_NAME = 255  # UTF-16 units: Microsoft's FAT specification 1.03, section 7


@dataclass(frozen=True)
class Done:
    """How a program ended: its exit code, what it said, and its first complaint, for people."""

    code: int
    said: bytes
    complained: str


class Mtools:
    """mtools for the FAT that begins at byte ``offset`` of a file or device."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self.offset = offset

    def run(self, tool: str, *arguments: str, given: bytes | Path = b"") -> Done:
        """Run a program to its end.

        Args:
            tool: its name, as ``mdir``.
            arguments: what follows the image; names as ``on_fat`` makes them.
            given: what it reads from its standard input, or the file with that.

        Raises:
            UnfitError: it is not installed.
            EdgeError: the image or the file cannot be opened, or it does not end.
        """
        with contextlib.ExitStack() as stack:
            words, handle = self._words(tool, arguments, stack)
            with _told(tool, self):
                done = subprocess.run(
                    words,
                    input=given if isinstance(given, bytes) else None,
                    stdin=None if isinstance(given, bytes) else stack.enter_context(opened(given)),
                    capture_output=True,
                    pass_fds=[handle],
                    start_new_session=True,  # without a terminal: there are questions that it would ask there
                    env=_environment(),
                    timeout=_TIMEOUT_S,
                    check=False,
                )
        return Done(done.returncode, done.stdout, _complaint(done.stderr))

    def demand(self, what: str, tool: str, *arguments: str, given: bytes | Path = b"") -> bytes:
        """Run a program that has to succeed, and return what it says.

        Raises:
            BadFileError: it fails; the message begins ``cannot`` and ``what``, as ``read``.
            UnfitError: it is not installed.
        """
        done = self.run(tool, *arguments, given=given)
        if done.code:
            raise self.failed(what, done)
        return done.said

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """Yield what is in a file of the FAT as it is read.

        Raises:
            BadFileError: it could not be read to its end, and the caller did not stop before.
            UnfitError: there is no ``mtype``.
        """
        with contextlib.ExitStack() as stack:
            words, handle = self._words("mtype", (on_fat(name),), stack)
            complaints = stack.enter_context(tempfile.TemporaryFile())
            with _told("mtype", self):
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    pass_fds=[handle],
                    start_new_session=True,
                    env=_environment(),
                )
            stack.callback(_end, process)
            output = process.stdout
            assert output is not None  # noqa: S101 - a pipe was asked for
            yield output
            if output.read(1):  # the caller has seen enough
                return
            if code := process.wait(_TIMEOUT_S):
                complaints.seek(0)
                raise self.failed(f"read {name} in", Done(code, b"", _complaint(complaints.read())))

    def failed(self, what: str, done: Done) -> BadFileError:
        """Say what could not be done, and what the program complained of."""
        return BadFileError(
            f"cannot {what} {self}: no FAT file system there, or it is damaged: {done.complained}",
            hint="download the image again, and check its SHA-256",
        )

    def __str__(self) -> str:
        return f"{self.path} at byte {self.offset}" if self.offset else str(self.path)

    def _words(self, tool: str, arguments: tuple[str, ...], stack: contextlib.ExitStack) -> tuple[list[str], int]:
        handle = stack.enter_context(opened(self.path)).fileno()
        # By its handle: a path may have in it what separates the offset.
        return [tool, "-i", f"/proc/self/fd/{handle}@@{self.offset}", *arguments], handle


def on_fat(name: str) -> str:
    """Return how mtools are told of a file or folder, by its path below the FAT's root.

    Raises:
        BadFileError: no file on a FAT can have this name.
    """
    for part in name.split("/") if name else ():
        long = len(part.encode("utf-16-le", "surrogatepass")) // 2 > _LONGEST_NAME
        if not part or long or part[-1] in ". " or _BAD_IN_NAMES.search(part):
            raise BadFileError(f"no file on a FAT can have the name {name!r}")
    return f"::/{name}"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to read. Raises EdgeError: the system refuses."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise refused(error, path, "read") from error
    with stream:
        yield stream


@contextlib.contextmanager
def _told(tool: str, of: Mtools) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise UnfitError(f"cannot look into {of}: there is no {tool}", hint="sudo apt install mtools") from error
    except subprocess.TimeoutExpired as error:
        raise EdgeError(f"cannot look into {of}: {tool} does not end within {_TIMEOUT_S:g} s") from error


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",  # where no .mtoolsrc and no .mcwd are
        "LC_ALL": "C.UTF-8",
        "MTOOLSRC": "/dev/null",
        "MTOOLS_SKIP_CHECK": "1",  # older ones want whole cylinders, which no card has
        "SOURCE_DATE_EPOCH": _EPOCH,
        "TZ": "UTC",
    }


def _complaint(said: bytes) -> str:
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[0][:_SAID] if lines else "mtools say nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with process:  # closes its pipe, and waits
        pass
