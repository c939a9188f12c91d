"""A model, a camera and everything around them as one running application: what ``run`` and the demo start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from device_runtime.cameras.interface import Camera
from device_runtime.cameras.sources import CameraOptions, is_camera, open_camera, public_name
from device_runtime.contract.events import Events, Notice, silent
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import EdgeError
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, RunSummary, run_loop
from device_runtime.loop.workers import Predict
from device_runtime.machine import available_bytes, usable_cores
from device_runtime.predictor import Predictor
from device_runtime.sinks.interface import Sink
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.raw import AnyFrame

if TYPE_CHECKING:
    from device_runtime.pulse import Heart
    from device_runtime.rules import Rules
    from device_runtime.tracking.tracker import Tracker


_ROOM_BYTES = 64 << 20
"""What is left to everybody else before another model is loaded."""


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


def run_application(
    application: Application, make_sinks: MakeSinks, events: Events = silent, heart: Heart | None = None
) -> RunSummary:
    """Run an application until its source ends, a limit is reached, or it is interrupted.

    Args:
        application: what to run.
        make_sinks: opens where predictions go beside what the service says.
        events: hears of a camera that stops or comes back, of sinks that fail, and where the page is.
        heart: of an application that runs as a service: it beats while the loop gets on, and a camera that cannot be
            opened at first is waited for.

    Raises:
        UsageError: the service asks for something that the model or this machine does not have.
        CameraError: the camera cannot be opened, or a file is damaged.
        ModelError: the model cannot be run.
        EdgeError: a vital sink failed, or the page's port is taken.
    """
    service = application.service
    refine = _Refinement(application) if service.tracking or service.rules else None
    predictor = _predictor(application)
    options = CameraOptions(service.size, service.fps, service.format)
    identity = Identity(
        application.spec.name,
        f"{predictor.engine.name} {predictor.engine.version}",
        public_name(service.source),
        application.release,
        application.limits.stall_s,
    )
    telemetry = Telemetry(identity)
    if heart is not None:
        heart.watch(telemetry, service.health)
    with ExitStack() as unused:
        camera = _first_camera(service.source, options, events, awaited=heart is not None)
        unused.callback(camera.close)
        sinks: list[Sink] = []
        for make in (make_sinks, lambda _: _open_sinks(application), lambda _: _open_page(service, telemetry, events)):
            for sink in make(camera):
                sinks.append(sink)
                unused.callback(sink.close, failed=True)
        workers = service.workers or default_workers(service.threads)
        setup = LoopSetup(
            application.limits,
            workers,
            lambda: _another(application),
            refine,
            CaptureSetup(
                lambda: open_camera(service.source, options, events), predictor.ahead(live=camera.live, workers=workers)
            ),
            telemetry,
            events,
            heart,
        )
        unused.pop_all()  # from here on the loop closes the camera and the sinks
        summary = run_loop(camera, predictor.infer, sinks, setup)
    if heart is not None:
        heart.finished(summary, identity.source)
    return summary


def _first_camera(source: str, options: CameraOptions, events: Events, *, awaited: bool) -> Camera:
    """Open the source; a camera that may come later is left to the loop where it is ``awaited``."""
    if awaited and is_camera(source):
        from device_runtime.cameras.awaited import Awaited  # noqa: PLC0415 - only for services

        return Awaited(public_name(source))
    return open_camera(source, options, events)


def default_workers(threads: int) -> int:
    """Return how many workers the cores that this process may use are good for, 1 or more."""
    return max(1, usable_cores() // threads)


def _another(application: Application) -> Predict:
    """Load the model once more.

    Raises:
        EdgeError: there is no memory for it: the kernel would not refuse it, but kill the application later.
    """
    # Measured: a model's packed weights and arena take 2–4 times its file (MobileNetV2: 14 MB for 3.7 MB).
    wanted = 4 * application.model.stat().st_size + _ROOM_BYTES
    free = available_bytes()
    if free is not None and free < wanted:
        raise EdgeError(f"expected {wanted / 1e6:.0f} MB of free memory for another model, got {free / 1e6:.0f} MB")
    return _predictor(application).infer


def _predictor(application: Application) -> Predictor:
    service = application.service
    return Predictor(application.model, application.spec, service.engine, service.threads, service.delegate)


class _Refinement:
    """Tracking and rules, as far as the service wants them."""

    def __init__(self, application: Application) -> None:
        service, spec = application.service, application.spec
        self._tracker: Tracker | None = None
        self._rules: Rules | None = None
        if service.tracking:
            from device_runtime.tracking.tracker import Tracker  # noqa: PLC0415 - only for those who track

            self._tracker = Tracker(spec.task, service.track_score)
        if service.rules:
            from device_runtime.rules import Rules  # noqa: PLC0415 - only for those who have rules

            self._rules = Rules(service, spec)

    def apply(self, frame: AnyFrame, prediction: Prediction) -> Prediction:
        size = (frame.width, frame.height)
        if self._tracker is not None:
            prediction = self._tracker.update(prediction, size)
        return prediction if self._rules is None else self._rules.apply(prediction, size)

    def finish(self) -> Prediction | None:
        return None if self._rules is None else self._rules.finish()


def _open_sinks(application: Application) -> list[Sink]:
    from device_runtime.sinks.registry import open_sinks  # noqa: PLC0415 - it imports what the service asks for

    return open_sinks(application.service, application.data, application.name)


def _open_page(service: ServiceSpec, telemetry: Telemetry, events: Events) -> list[Sink]:
    if service.page is None:
        return []
    from device_runtime.web.page import Page  # noqa: PLC0415 - starlette and uvicorn take 0.2 s to import

    page = Page(service.page, telemetry, service.regions)
    page.start()
    events(Notice(f"the page is at {page.url}"))
    return [page]
