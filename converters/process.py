"""Runs the child process of a conversion: jobs in, answers and events out, and an error when it dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import converters
import device_runtime
from converters.environments.catalog import Environment
from converters.environments.make import prepare
from converters.errors import ConversionError
from converters.jobs import JOBS, Job
from device_runtime.contract.decode import decode, encode
from device_runtime.contract.events import Event, Events, Notice, Progress, Step
from device_runtime.contract.reported import ReportedError
from device_runtime.errors import EdgeError, UsageError, kind_of
from device_runtime.signals import signal_name

T = TypeVar("T")

_EVENTS: dict[str, type[Event]] = {"Step": Step, "Progress": Progress, "Notice": Notice}
_NAMES = {kind: name for name, kind in JOBS.items()}
_LAST_LINES = 3
_LINE_LENGTH = 300
_EXIT_S = 5.0

_LIMIT = "EDGEKIT_JOB_TIMEOUT_S"
_LIMIT_S = 3600.0
"""A job takes seconds; exporting a large model on a slow machine minutes. What takes an hour hangs."""

# What frameworks log of themselves; none of it says why something failed.
_NOISE = re.compile(
    r"^\s*$|^[IW]\d{4} |^[IW]0000|^INFO|^WARNING: All log messages|oneDNN|cudart|cuda drivers|^\s*(warnings\.warn|@|\^)"
    r"|^20\d\d-\d\d-\d\d .*: [IW] |UserWarning|^Saved artifact|^\s+File \"|^Traceback"
    r"|^Failed to load .*torchao|^\(\d\d:\d\d\) \[|^flatbuffer_direct export|FutureWarning"
)

_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",  # the result must not depend on a graphics card, nor wait for one
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONFAULTHANDLER": "1",  # a crash in native code leaves its lines in the log
}


class Worker:
    """A child process that does jobs; see ``open_worker``."""

    def __init__(self, folder: Path, events: Events, environment: Environment | None = None) -> None:
        self._log = folder / "worker.log"
        self._folder = folder
        self._events = events
        self._limit_s = _limit_s()
        self._expired = False
        python = sys.executable if environment is None else str(prepare(environment, events))
        paths = [path for path in sys.path if path] if environment is None else [str(_own_packages(folder))]
        # Frameworks leave temporary files behind, above all when they are ended; these go with the folder.
        variables = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)}
        # -P: a file of the user's that is called like a module of ours must not be imported. A session of its own:
        # Ctrl-C in a terminal reaches the parent only, which ends the child.
        self._process = subprocess.Popen(
            [python, "-P", "-m", "converters.worker", str(self._log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=variables,
            start_new_session=True,
        )

    def call(self, job: Job, answer: type[T], what: str) -> T:
        """Have one job done.

        Args:
            job: what to do.
            answer: the type of the answer.
            what: the same in words, for errors ("convert to float32").

        Raises:
            EdgeError: as the job raised it in the child.
            ConversionError: the job failed otherwise, or the child died or took too long.
        """
        watch = threading.Timer(self._limit_s, self._expire)
        watch.daemon = True
        watch.start()
        try:
            return self._call(job, answer, what)
        finally:
            watch.cancel()

    def _call(self, job: Job, answer: type[T], what: str) -> T:
        request = {"job": _NAMES[type(job)], "arguments": encode(job)}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - both are pipes
        assert stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):  # it died; reading tells how
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        for line in stdout:
            message = json.loads(line)
            if "event" in message:
                self._events(_event(message["event"]))
            elif "error" in message:
                raise _error(message["error"])
            elif "failure" in message:
                raise self._failure(what, str(message["failure"]))
            else:
                return decode(answer, message["result"], "the worker's answer")
        raise self._died(what)

    def close(self) -> None:
        """End the child, and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_EXIT_S)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _expire(self) -> None:
        self._expired = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _died(self, what: str) -> EdgeError:
        code = self._process.wait(_EXIT_S)
        if self._expired:
            return self._failure(
                what,
                f"it took longer than {self._limit_s:g} s and was ended",
                f"give it more time: export {_LIMIT}={self._limit_s * 4:g}",
            )
        if code == -signal.SIGKILL:
            return self._failure(
                what,
                "its process was killed (SIGKILL)",
                "the system does that when memory runs out: close other programs, or convert on a larger machine",
            )
        if code < 0:
            return self._failure(what, f"its process crashed ({signal_name(-code)})")
        return self._failure(what, f"its process ended with code {code}")

    def _failure(self, what: str, reason: str, hint: str = "") -> EdgeError:
        if shutil.disk_usage(self._folder).free < 1 << 20:
            return EdgeError(
                f"cannot {what}: no space left on the disk for {self._folder}",
                hint="free some space, or choose another disk for temporary files: TMPDIR=/path edgekit convert …",
            )
        lines = [line for line in last_lines(self._log) if line not in reason]
        return ConversionError(f"cannot {what}: {'; '.join([_short(reason), *lines])}", hint=hint)


@contextlib.contextmanager
def open_worker(folder: Path, events: Events, environment: Environment | None = None) -> Iterator[Worker]:
    """Start a child process, and end it when the block is left, by whatever way.

    A job may take an hour, or ``EDGEKIT_JOB_TIMEOUT_S`` seconds.

    Args:
        folder: where it may write its log.
        events: hears what the child reports.
        environment: whose Python it runs in; it is made if it is not there. None: this one's.

    Raises:
        EdgeError: the environment cannot be made.
    """
    worker = Worker(folder, events, environment)
    try:
        yield worker
    finally:
        worker.close()


def _own_packages(folder: Path) -> Path:
    """Return a folder with our packages and nothing else: of this Python's others, none must be seen by another."""
    packages = folder / "packages"
    packages.mkdir(exist_ok=True)
    for package in (converters, device_runtime):
        link = packages / package.__name__
        if not link.is_symlink():
            link.symlink_to(Path(package.__path__[0]).absolute(), target_is_directory=True)
    return packages


def _limit_s() -> float:
    told = os.environ.get(_LIMIT, "")
    try:
        limit = float(told or _LIMIT_S)
    except ValueError:
        limit = 0.0
    if not 0 < limit <= threading.TIMEOUT_MAX:
        raise UsageError(f"{_LIMIT}: expected a number of seconds above 0, got {told!r}", hint=f"unset {_LIMIT}")
    return limit


def last_lines(log: Path) -> list[str]:
    """Return the last few lines of a framework's log that may say why it failed."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    lines = [_short(line) for line in text.splitlines() if not _NOISE.search(line)]
    return lines[-_LAST_LINES:]


def _short(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= _LINE_LENGTH else first[: _LINE_LENGTH - 1] + "…"


def _event(data: dict[str, Any]) -> Event:
    return _EVENTS[str(data["kind"])](**{key: value for key, value in data.items() if key != "kind"})


def _error(data: object) -> EdgeError:
    """Make the error again that was raised in the child; one of an unknown kind is a ConversionError."""
    reported = decode(ReportedError, data, "the worker's answer")
    return (kind_of(reported.code) or ConversionError)(reported.message, hint=reported.hint)
