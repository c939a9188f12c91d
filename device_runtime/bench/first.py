"""One prediction of an application, in a process of its own that somebody else times: it imports no more than that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from device_runtime.application import Application, run_application
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import CameraError, Interrupted
from device_runtime.loop.run import Limits
from device_runtime.vision.raw import AnyFrame


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
