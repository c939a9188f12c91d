"""The way to a board's installer: the same commands and the same lines of JSON, wherever it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from device_runtime.contract.events import Events, silent
from device_runtime.contract.reported import ReportedError
from device_runtime.contract.status import Answer, BoardStatus, InstallResult, decode_line
from device_runtime.errors import BadFileError, EdgeError
from edgekit.boards.target import LocalTarget

_SETTLE_S = 60.0


class Link(Protocol):
    """A board's installer. Its errors are raised here with their own codes, as if it ran in this process."""

    def status(self) -> BoardStatus:
        """Return what is on the board."""

    def apply(self, bundle: Path, events: Events, *, retry: bool = False) -> InstallResult:
        """Install a bundle; the installer's events are reported while it works."""

    def roll_back(self, events: Events) -> InstallResult:
        """Return to the previous release."""


class LocalLink:
    """The installer of a folder on this machine, in its own process, under this interpreter and with its packages."""

    def __init__(self, target: LocalTarget) -> None:
        self._root = target.root

    def status(self) -> BoardStatus:
        """Return what is in the folder, after settling what a killed installer left."""
        answer = self._run("status", [], silent)
        if not isinstance(answer, BoardStatus):
            raise _garbled(answer)
        return answer

    def apply(self, bundle: Path, events: Events, *, retry: bool = False) -> InstallResult:
        """Install a bundle."""
        return self._result("apply", [str(bundle), *(["--retry"] if retry else [])], events)

    def roll_back(self, events: Events) -> InstallResult:
        """Return to the previous release."""
        return self._result("rollback", [], events)

    def _result(self, command: str, arguments: list[str], events: Events) -> InstallResult:
        answer = self._run(command, arguments, events)
        if not isinstance(answer, InstallResult):
            raise _garbled(answer)
        return answer

    def _run(self, command: str, arguments: list[str], events: Events) -> Answer:
        # -P: what lies in the user's folder is not imported.
        words = [sys.executable, "-P", "-m", "device_runtime.install", command, "--root", str(self._root), *arguments]
        # A session of its own: Ctrl-C comes here, and the installer is told to stop once, by us.
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8", start_new_session=True
        ) as process:
            try:
                return _answer(process, events)
            except BaseException:
                _stop(process)
                raise


def _answer(process: subprocess.Popen[str], events: Events) -> Answer:
    """Report events as they come, and return the final answer or raise the final error."""
    final: Answer | ReportedError | None = None
    for line in process.stdout or ():
        message = decode_line(line)
        if isinstance(message, (InstallResult, BoardStatus, ReportedError)):
            final = message
        elif message is not None:
            events(message)
    code = process.wait()
    if isinstance(final, ReportedError):
        raise final.error()
    if final is None or code != 0:
        raise EdgeError(
            f"the installer ended with {code} and no answer",
            hint="what it had begun is settled by the next command: edgekit releases",
        )
    return final


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the installer to stop, and give it time to put things in order."""
    process.terminate()
    try:
        process.wait(_SETTLE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _garbled(answer: object) -> BadFileError:
    return BadFileError(f"the installer's answer: expected another kind, got {type(answer).__name__}")
