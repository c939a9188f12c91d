"""A model, a camera and everything around them as one running application: what ``run`` and the demo start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.cameras.interface import Camera
from device_runtime.cameras.sources import CameraOptions, open_camera
from device_runtime.contract.events import Events, silent
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import ServiceSpec
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.delivery import Refine
from device_runtime.loop.run import Limits, LoopSetup, RunSummary, run_loop
from device_runtime.machine import usable_cores
from device_runtime.predictor import Predictor
from device_runtime.sinks.interface import Sink
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.raw import AnyFrame


@dataclass(frozen=True)
class Application:
    """What to run, and when it ends.

    ``name`` is what the application is called elsewhere, ``release`` is for people; relative folders of sinks lie
    under ``data``.
    """

    model: Path
    spec: ModelSpec
    service: ServiceSpec
    name: str = "edgekit"
    release: str | None = None
    data: Path = Path()
    limits: Limits = field(default_factory=Limits)


MakeSinks = Callable[[Camera], Sequence[Sink]]
"""Opens where predictions go, beside what the service says, once the camera is known."""


def run_application(application: Application, make_sinks: MakeSinks, events: Events = silent) -> RunSummary:
    """Run an application until its source ends, a limit is reached, or it is interrupted.

    Args:
        application: what to run.
        make_sinks: opens where predictions go beside what the service says.
        events: hears of a camera that stops or comes back, of sinks that fail, and where the page is.

    Raises:
        UsageError: the service asks for something that the model or this machine does not have.
        CameraError: the camera cannot be opened, or a file is damaged.
        ModelError: the model cannot be run.
        EdgeError: a vital sink failed, or the page's port is taken.
    """
    service = application.service
    refine = _refine(application)
    predictor = Predictor(application.model, application.spec, service.engine, service.threads)
    options = CameraOptions(service.size, service.fps, service.format)
    identity = Identity(
        application.spec.name,
        f"{predictor.engine.name} {predictor.engine.version}",
        service.source,
        application.release,
        application.limits.stall_s,
    )
    telemetry = Telemetry(identity)
    with ExitStack() as unused:
        camera = open_camera(service.source, options, events)
        unused.callback(camera.close)
        sinks = [*make_sinks(camera), *_open_sinks(application, telemetry, events)]
        workers = service.workers or default_workers(service.threads)
        setup = LoopSetup(
            application.limits,
            workers,
            lambda: Predictor(application.model, application.spec, service.engine, service.threads).infer,
            refine,
            CaptureSetup(
                lambda: open_camera(service.source, options, events), predictor.ahead(live=camera.live, workers=workers)
            ),
            telemetry,
            events,
        )
        unused.pop_all()  # from here on the loop closes the camera and the sinks
        return run_loop(camera, predictor.infer, sinks, setup)


def default_workers(threads: int) -> int:
    """Return how many workers the cores that this process may use are good for, 1 or more."""
    return max(1, usable_cores() // threads)


def _refine(application: Application) -> Refine | None:
    """Return tracking and rules as far as the service wants them."""
    service = application.service
    steps: list[Callable[[Prediction, tuple[int, int]], Prediction]] = []
    if service.tracking:
        from device_runtime.tracking import Tracker  # noqa: PLC0415 - only for those who track

        steps.append(Tracker(application.spec.task).update)
    if service.rules:
        from device_runtime.rules import Rules  # noqa: PLC0415 - only for those who have rules

        steps.append(Rules(service, application.spec).apply)
    if not steps:
        return None

    def refine(frame: AnyFrame, prediction: Prediction) -> Prediction:
        for step in steps:
            prediction = step(prediction, (frame.width, frame.height))
        return prediction

    return refine


def _open_sinks(application: Application, telemetry: Telemetry, events: Events) -> list[Sink]:
    from device_runtime.sinks.registry import open_sinks  # noqa: PLC0415 - it imports what the service asks for

    sinks = open_sinks(application.service, application.data, application.name)
    if application.service.page is not None:
        from device_runtime.web.page import open_page  # noqa: PLC0415 - starlette takes 0.2 s to import

        sinks.append(open_page(application.service.page, telemetry, application.service.regions, events))
    return sinks
