"""Cold starts: new processes of this runtime, each timed from just before its start to its first prediction."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from device_runtime.application import Application, run_application
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.reported import error_in
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError, CameraError, EdgeError, Interrupted
from device_runtime.install.launch import release_command
from device_runtime.loop.run import Limits
from device_runtime.signals import signal_name
from device_runtime.vision.raw import AnyFrame

FIRST = ("bench", "--first", "--json")
"""The words with which this runtime makes one prediction, of what its stdin says, and tells when that was."""

_LAST_LINES = 8
_GRACE_S = 5.0


@dataclass(frozen=True)
class FirstRequest:
    """What a new process is to run until its first prediction; its sinks and its page are left out."""

    model: str
    spec: ModelSpec
    service: ServiceSpec


@dataclass(frozen=True)
class FirstPrediction:
    """When it was finished, by the monotonic clock, which is the same for all processes (clock_gettime(2))."""

    at_ns: int


class ColdStartCrashError(EdgeError):
    """A process that was to make a first prediction died, or answered something else."""

    code = "bench-crashed"


class Started(Protocol):
    """What of a request a cold start needs."""

    @property
    def model(self) -> Path:
        """The model's file."""

    @property
    def spec(self) -> ModelSpec:
        """What it is."""

    @property
    def cold_starts(self) -> int:
        """How many processes are started."""


def measure_cold_starts(
    service: ServiceSpec, request: Started, command: Sequence[str] | None = None
) -> tuple[float, ...]:
    """Start so many processes one after the other; return the time from each one's start to its prediction, in ms.

    They are of this Python and this runtime, with this process's environment.

    Args:
        service: how the application runs.
        request: what is run, and how often.
        command: what starts such a process.

    Raises:
        ColdStartCrashError: one died.
        EdgeError: what one of them reported, with its own codes.
    """
    question = dumps(FirstRequest(str(request.model.absolute()), request.spec, service)).encode()
    words = list(command or release_command(FIRST))
    return tuple(_first_prediction_ms(words, question) for _ in range(request.cold_starts))


def predict_first(request: FirstRequest) -> FirstPrediction:
    """Run an application until its first prediction.

    Raises:
        CameraError: the source has no frame.
        Interrupted: it was stopped before.
        EdgeError: see ``run_application``.
    """
    sink = _First()
    application = Application(Path(request.model), request.spec, request.service, limits=Limits(frames=1))
    summary = run_application(application, lambda _: [sink])
    if sink.at_ns is None:
        if summary.interrupted:
            raise Interrupted("stopped before the first prediction")
        raise CameraError(f"{request.service.source}: no frame that a first prediction could be of")
    return FirstPrediction(sink.at_ns)


class _First:
    """A sink that notes when it was given its first prediction."""

    name = "first"
    vital = True
    depth = 0
    events_only = False

    def __init__(self) -> None:
        self.at_ns: int | None = None

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        del frame, prediction
        self.at_ns = self.at_ns or time.monotonic_ns()

    def close(self, *, failed: bool) -> None:
        del failed


def _first_prediction_ms(words: list[str], question: bytes) -> float:
    # It imports what this process would, wherever that was found: in the folder it was started in, say.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    started = time.monotonic_ns()
    child = subprocess.Popen(  # the words are a list, no shell reads them
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    try:
        answer, log = (stream.decode("utf-8", "replace") for stream in child.communicate(question))
    finally:
        _end(child)
    if child.returncode != 0:
        raise error_in(answer) or _crash(f"ended {_how(child.returncode)} and without a prediction", log)
    try:
        return (loads(FirstPrediction, answer, "first prediction").at_ns - started) / 1e6
    except BadFileError as error:
        raise _crash(f"told no first prediction: {error}", log) from error


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, whatever happened."""
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            child.kill()
            child.wait()


def _how(code: int) -> str:
    return f"by {signal_name(-code)}" if code < 0 else f"with exit code {code}"


def _crash(what: str, log: str) -> ColdStartCrashError:
    lines = [line.rstrip() for line in log.splitlines() if line.strip()][-_LAST_LINES:]
    return ColdStartCrashError(f"a cold start's process {what}" + "".join(f"\n  {line}" for line in lines))
