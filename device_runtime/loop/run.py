"""Runs a camera, a model and sinks until the end, a limit, an error or an interruption.

Frames of a live camera pass through a slot in which the newest one wins: under overload frames are dropped and
counted, and latency does not grow. Frames of a file wait until they are taken, so that none is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2

from device_runtime.cameras.interface import Camera
from device_runtime.contract.events import Events, silent
from device_runtime.contract.prediction import Prediction
from device_runtime.errors import CameraError, Interrupted
from device_runtime.loop.capture import Capture, CaptureSetup
from device_runtime.loop.delivery import Delivery, Refine
from device_runtime.loop.handover import Handover
from device_runtime.loop.progress import Keeper, Progress
from device_runtime.loop.status import Status
from device_runtime.loop.workers import Predict, Workers
from device_runtime.sinks.interface import Sink
from device_runtime.telemetry import Identity, Telemetry
from device_runtime.vision.staging import Item

STALL_S = 10.0
"""A camera that gives no frame for this long has stopped; OpenCV's own read can hang for 30–90 s."""

_LOOK_S = 0.1
_CLOSE_S = 2.0
_LEAST_LOOK_S = 0.01


@dataclass(frozen=True)
class Limits:
    """When a run ends: after so many frames or seconds; None is without limit, and a file ends by itself."""

    frames: int | None = None
    duration_s: float | None = None
    stall_s: float = STALL_S


@dataclass(frozen=True)
class LoopSetup:
    """What a run is given beside camera, model and sinks.

    ``another`` makes a further worker's model; up to ``workers`` run at the same time, and a further one starts when
    frames wait for one. ``refine`` is called with each prediction in the order of the frames. ``keeper`` hears whether
    the loop gets on.
    """

    limits: Limits = field(default_factory=Limits)
    workers: int = 1
    another: Callable[[], Predict] | None = None
    refine: Refine | None = None
    capture: CaptureSetup = field(default_factory=CaptureSetup)
    telemetry: Telemetry | None = None
    events: Events = silent
    keeper: Keeper | None = None


@dataclass
class RunSummary:
    """What a run did.

    ``dropped`` are frames that nobody took in time, ``sink_dropped`` predictions likewise; ``damaged`` frames could not
    be decoded, and were left out.
    """

    frames: int = 0
    dropped: int = 0
    damaged: int = 0
    sink_dropped: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    last: Prediction | None = field(default=None, repr=False)

    @property
    def fps(self) -> float:
        """Predictions per second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


def run_loop(camera: Camera, predict: Predict, sinks: Sequence[Sink], setup: LoopSetup | None = None) -> RunSummary:
    """Run frames through a model until the source ends, a limit is reached, or it is interrupted.

    The camera and the sinks are closed when this returns or raises; on an error the sinks are told that the run
    failed, so that nothing half-written stays. Ctrl-C and SIGTERM are a normal end: what is there is complete, and the
    summary says ``interrupted``. It is to be called in the main thread, which is the one that signals reach.

    Raises:
        CameraError: the camera stopped or is damaged, and cannot be opened again.
        EdgeError: the model or a vital sink failed.
    """
    setup = setup or LoopSetup()
    status = Status(setup.telemetry or Telemetry(Identity("", "", camera.name)), setup.events)
    # A file's frames do not come evenly: with one more place than workers, none waits for a frame that takes longer.
    frames: Handover[Item] = Handover(1 if camera.live else setup.workers + 1, newest_wins=camera.live)
    capture = Capture(camera, frames, setup.capture, status)
    delivery = Delivery(sinks, setup.refine, status, live=camera.live)
    workers = Workers(frames, delivery, status, live=camera.live, frame_limit=setup.limits.frames)
    progress = Progress(capture, frames, workers, delivery, setup.limits.stall_s)
    summary = RunSummary()
    # OpenCV's own threads would only take the cores from the workers: measured, a picture's resizing gains nothing.
    had_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    started = time.monotonic()
    failed = True
    try:
        capture.start()
        delivery.start()
        workers.start(predict)
        _supervise(setup, capture, workers, progress)
        failed = workers.failure is not None
    except (KeyboardInterrupt, Interrupted):
        summary.interrupted = True
        failed = False
    finally:
        summary.seconds = time.monotonic() - started
        hurry = summary.interrupted or failed
        if setup.keeper is not None:
            setup.keeper.stopping()
        if hurry:
            frames.clear()
        capture.stop()
        if workers.failure is None:
            workers.join(_CLOSE_S if hurry else None)
        delivery.close()  # a worker that still waits for a sink, or for a frame that has no answer, waits no more
        workers.join(_CLOSE_S if hurry else None)  # one that hangs in the model is left behind
        failed = failed or workers.failure is not None
        cv2.setNumThreads(had_threads)
        delivery.finish(failed=failed, hurry=hurry)
    if workers.failure is not None:
        raise workers.failure
    summary.frames, summary.last = delivery.delivered, delivery.last
    summary.dropped, summary.sink_dropped = frames.dropped, delivery.dropped
    summary.damaged = status.damaged
    return summary


def _supervise(setup: LoopSetup, capture: Capture, workers: Workers, progress: Progress) -> None:
    """Wait until the run is over; bring a camera that hangs back to life, and start workers that are needed."""
    limits = setup.limits
    end = None if limits.duration_s is None else time.monotonic() + limits.duration_s
    look_s = min(_LOOK_S, max(_LEAST_LOOK_S, limits.stall_s / 4))
    while not workers.wait(look_s if end is None else max(0.0, min(look_s, end - time.monotonic()))):
        if progress.failed or (end is not None and time.monotonic() >= end):
            return
        reason = capture.hung(limits.stall_s)
        if reason is not None and not capture.replace(reason):
            raise CameraError(reason, hint="is it still plugged in? see: dmesg | tail")
        if setup.another is not None:
            workers.grow(setup.another, setup.workers)
        if setup.keeper is not None:
            setup.keeper.look(progress)
