"""The camera loop: capture ∥ prepare + invoke ∥ sinks, each in its own thread.

Frames of a live camera pass through a slot in which the newest one wins: under overload frames are dropped and
counted, and latency does not grow. Frames of a file wait until they are taken, so that none is lost.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from device_runtime.cameras.interface import Camera
from device_runtime.contract.prediction import Prediction
from device_runtime.errors import CameraError, Interrupted
from device_runtime.sinks.interface import Sink
from device_runtime.vision.frame import Frame

T = TypeVar("T")

STALL_S = 10.0
"""A camera that gives no frame for this long has stopped; OpenCV's own read can hang for 30–90 s."""

_CLOSE_S = 2.0
_SINK_DEPTH = 4

Predict = Callable[[Frame], Prediction]


@dataclass(frozen=True)
class Limits:
    """When a run ends: after so many frames or seconds; None is without limit, and a file ends by itself."""

    frames: int | None = None
    duration_s: float | None = None
    stall_s: float = STALL_S


@dataclass
class RunSummary:
    """What a run did. ``dropped`` are frames that nobody took in time, ``sink_dropped`` predictions likewise."""

    frames: int = 0
    dropped: int = 0
    sink_dropped: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    last: Prediction | None = field(default=None, repr=False)

    @property
    def fps(self) -> float:
        """Predictions per second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


class Handover(Generic[T]):
    """Passes items from one thread to another through a short queue.

    When it is full, ``put`` waits (nothing is lost), or with ``newest_wins`` drops the oldest item and counts it.
    """

    def __init__(self, depth: int, *, newest_wins: bool) -> None:
        self._depth = depth
        self._newest_wins = newest_wins
        self._items: list[T] = []
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self.dropped = 0

    def put(self, item: T) -> bool:
        """Hand over an item; False when the other side does not want any more."""
        with self._changed:
            if self._newest_wins and len(self._items) == self._depth:
                self._items.pop(0)
                self.dropped += 1
            while len(self._items) == self._depth and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def wait_for_room(self) -> bool:
        """Wait until an item can be put without waiting; False when the other side does not want any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._depth)
            return not self._closed

    def take(self, timeout_s: float | None) -> T | None:
        """Wait for an item; None after the end.

        Raises:
            TimeoutError: none came in time.
            BaseException: what the other side failed with, after its last item.
        """
        with self._changed:
            ready = self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not ready:
                raise TimeoutError
            if self._items:
                item = self._items.pop(0)
                self._changed.notify_all()
                return item
            if self._failure is not None:
                raise self._failure
            return None

    def close(self, failure: BaseException | None = None) -> None:
        """End it, from either side: ``put`` returns False, ``take`` gives what is left and then the end."""
        with self._changed:
            self._closed = True
            self._failure = self._failure or failure
            self._changed.notify_all()


def run_loop(camera: Camera, predict: Predict, sinks: Sequence[Sink], limits: Limits | None = None) -> RunSummary:
    """Run frames through a model until the source ends, a limit is reached, or it is interrupted.

    The camera and the sinks are closed when this returns or raises; on an error the sinks are told that the run
    failed, so that nothing half-written stays. Ctrl-C and SIGTERM are a normal end: what is there is complete, and the
    summary says ``interrupted``.

    Raises:
        CameraError: the camera stopped or is damaged.
        EdgeError: the model or a sink failed.
    """
    limits = limits or Limits()
    frames: Handover[Frame] = Handover(1, newest_wins=camera.live)
    results: Handover[tuple[Frame, Prediction]] = Handover(_SINK_DEPTH, newest_wins=camera.live)
    capture = threading.Thread(target=_capture, args=(camera, frames), name="capture", daemon=True)
    deliver = _Delivery(results, sinks)
    capture.start()
    deliver.start()
    failed = True
    try:
        summary = _infer(frames, results, predict, limits, camera.name)
        failed = False
    finally:
        frames.close()
        capture.join(_CLOSE_S)  # a thread that hangs in a dead driver is left behind; it is a daemon
        results.close()
        deliver.finish(failed=failed)
    summary.dropped = frames.dropped
    summary.sink_dropped = results.dropped
    return summary


def _infer(
    frames: Handover[Frame],
    results: Handover[tuple[Frame, Prediction]],
    predict: Predict,
    limits: Limits,
    name: str,
) -> RunSummary:
    summary = RunSummary()
    started = time.monotonic()
    try:
        while (limits.frames is None or summary.frames < limits.frames) and (
            limits.duration_s is None or summary.seconds < limits.duration_s
        ):
            frame = frames.take(limits.stall_s)
            if frame is None:
                break
            summary.last = predict(frame)
            summary.frames += 1
            summary.seconds = time.monotonic() - started
            if not results.put((frame, summary.last)):
                break  # a sink failed; its error is raised when it is joined
    except TimeoutError as error:
        raise CameraError(
            f"{name}: no frame for {limits.stall_s:g} s", hint="is it still plugged in? see: dmesg | tail"
        ) from error
    except (KeyboardInterrupt, Interrupted):
        summary.interrupted = True
    return summary


def _capture(camera: Camera, frames: Handover[Frame]) -> None:
    failure: BaseException | None = None
    try:
        # A file's next frame is read while the one before it is in the model, and not earlier: it would only grow old.
        while camera.live or frames.wait_for_room():
            frame = camera.read()
            if frame is None or not frames.put(frame):
                break
    except BaseException as error:  # noqa: BLE001 - it is raised in the thread that takes the frames
        failure = error
    frames.close(failure)
    with contextlib.suppress(Exception):
        camera.close()


class _Delivery(threading.Thread):
    """Brings results to the sinks."""

    def __init__(self, results: Handover[tuple[Frame, Prediction]], sinks: Sequence[Sink]) -> None:
        super().__init__(name="sinks", daemon=True)
        self._results = results
        self._sinks = sinks
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            while (result := self._results.take(None)) is not None:
                for sink in self._sinks:
                    sink.take(*result)
        except BaseException as error:  # noqa: BLE001 - it is raised when the run ends
            self._failure = error
            self._results.close()

    def finish(self, *, failed: bool) -> None:
        """Wait for what is under way, close the sinks, and raise what went wrong in them."""
        self.join()
        for sink in self._sinks:
            try:
                sink.close(failed=failed or self._failure is not None)
            except BaseException as error:  # noqa: BLE001 - the others must be closed too
                self._failure = self._failure or error
        if self._failure is not None and not failed:
            raise self._failure
