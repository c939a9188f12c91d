"""Tells whether a loop gets on, waits for its camera, or hangs: one judgement for watchdog, pulse and journal."""

from __future__ import annotations

from typing import Protocol

from device_runtime.loop.capture import Capture
from device_runtime.loop.delivery import Delivery
from device_runtime.loop.handover import Handover
from device_runtime.loop.workers import Workers
from device_runtime.vision.staging import Item


class Progress:
    """Looks at the parts of a running loop from outside; none of them does anything for it but count."""

    def __init__(
        self, capture: Capture, frames: Handover[Item], workers: Workers, delivery: Delivery, stall_s: float
    ) -> None:
        self._capture = capture
        self._frames = frames
        self._workers = workers
        self._delivery = delivery
        self._stall_s = stall_s
        self._settled = 0

    @property
    def delivered(self) -> int:
        """How many predictions the sinks were given."""
        return self._delivery.delivered

    @property
    def failed(self) -> bool:
        """Whether delivering failed: a vital sink did, say."""
        return self._delivery.failure is not None

    def look(self) -> str | None:
        """Return None when frames were settled since the last look, or none is here; otherwise where they stay.

        A frame is settled when its prediction was handed out, or when it turned out damaged. A camera that is read,
        opened or waited for counts as none here: the loop gives up what hangs there by itself. A vital sink that takes
        longer than ``stall_s`` hangs, though predictions go on: what it is there for is not done.
        """
        sink = self._delivery.hung_sink(self._stall_s)
        if sink is not None:
            return f"{sink} takes no more"
        settled = self._delivery.settled
        if settled != self._settled:
            self._settled = settled
            return None
        if not self._delivery.idle:
            return "predictions are not delivered"
        if not self._frames.idle(self._workers.count):
            return "the model gives no answer"
        return None if self._capture.waits() else "the camera's threads hang"


class Keeper(Protocol):
    """Who keeps a loop running: it hears of it about ten times a second, and of its end."""

    def look(self, progress: Progress) -> None:
        """Take note of how it is doing."""

    def stopping(self) -> None:
        """Take note that it ends, which may take a while."""
