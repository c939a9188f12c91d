"""Workers: each runs frames through a model of its own, and there are as many as keep up with the frames."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from device_runtime.contract.prediction import Prediction
from device_runtime.errors import EdgeError
from device_runtime.loop.delivery import Answer, Delivery
from device_runtime.loop.handover import Handover
from device_runtime.loop.status import Status
from device_runtime.vision.raw import DamagedFrameError
from device_runtime.vision.staging import Item, frame_of

Predict = Callable[[Item], Answer]
"""Runs a model on one frame; one thread calls it. What is left to be decoded may be decoded in another thread."""

_PATIENCE = 3
_WITHIN_S = 5.0
"""So many frames of a live camera, dropped within this time, start another worker: one now and then is a hiccup."""


class Workers:
    """Runs frames through models until there are no more frames, or one fails."""

    def __init__(
        self,
        frames: Handover[Item],
        delivery: Delivery,
        status: Status,
        *,
        live: bool,
        frame_limit: int | None,
    ) -> None:
        self._frames = frames
        self._delivery = delivery
        self._status = status
        self._live = live
        self._limit = frame_limit
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._running = 0
        self._starting = False
        self._contended = self._seen = 0
        self._counted_from = time.monotonic()
        self.failure: BaseException | None = None

    def start(self, predict: Predict) -> None:
        """Start a worker."""
        self._start(lambda: predict)

    def grow(self, make: Callable[[], Predict], most: int) -> None:
        """Start another worker when frames wait for one and there are less than ``most``; its model is loaded there."""
        now = time.monotonic()
        if now - self._counted_from > _WITHIN_S:
            self._contended, self._counted_from = self._seen, now
        self._seen = self._frames.contended
        waited = self._seen - self._contended
        if self._starting or len(self._threads) >= most or waited < (_PATIENCE if self._live else 1):
            return
        self._starting = True
        self._start(make)

    @property
    def count(self) -> int:
        """How many run."""
        return self._running

    def wait(self, timeout_s: float) -> bool:
        """Wait until all have ended, or one failed; False after the time-out."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0 or self.failure is not None, timeout_s)

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until each has finished the frame that it is at, or for so long in all."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            with contextlib.suppress(RuntimeError):  # an interruption came before it was started
                thread.join(None if end is None else max(0.0, end - time.monotonic()))

    def _start(self, make: Callable[[], Predict]) -> None:
        with self._changed:
            self._running += 1
        thread = threading.Thread(target=self._run, args=(make,), name=f"worker {len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, make: Callable[[], Predict]) -> None:
        try:
            predict = self._made(make)
            if predict is not None:
                self._work(predict)
        except BaseException as error:  # noqa: BLE001 - it is raised where the run ends
            self.failure = self.failure or error
            self._frames.close()
        finally:
            with self._changed:
                self._running -= 1
                self._status.telemetry.workers = self._running
                self._changed.notify_all()

    def _made(self, make: Callable[[], Predict]) -> Predict | None:
        """Return this worker's model, or None where there is no room for another one."""
        try:
            predict = make()
        except (EdgeError, MemoryError) as error:
            if self._running == 1:
                raise
            self._status.warn(f"no further worker: {error}")
            return None  # and none is tried again: _starting stays
        self._contended = self._frames.contended
        self._starting = False
        self._status.telemetry.workers = self._running
        return predict

    def _work(self, predict: Predict) -> None:
        while (taken := self._frames.take_numbered()) is not None:
            number, item = taken
            if self._limit is not None and number >= self._limit:
                self._frames.close()
                return
            try:
                answer = predict(item)
                if self._running > 1 and not isinstance(answer, Prediction):
                    answer = answer()  # while others are at the model; alone, the delivering thread does it meanwhile
            except DamagedFrameError as error:
                self._status.note_damaged(error)
                self._delivery.put(number, None)
                continue
            if not self._delivery.put(number, (frame_of(item), answer)):
                self._frames.close()
                return
