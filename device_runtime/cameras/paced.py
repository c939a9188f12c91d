"""A recording or a drawn scene at its own speed, as if it were a camera."""

from __future__ import annotations

import time

from device_runtime.cameras.interface import Camera
from device_runtime.vision.raw import AnyFrame, restamp


class Paced:
    """Gives the frames of a source at a steady rate, and like a camera does not wait for who takes them.

    What a frame takes to be read is hidden in the pause before it, so that it is as new as a camera's when it comes. A
    source that is slower than its rate gives frames as fast as it can, without making up for lost time.
    """

    live = True

    def __init__(self, camera: Camera, fps: float) -> None:
        """Give the frames of ``camera`` ``fps`` times a second."""
        self.name = camera.name
        self.fps: float | None = fps
        self._camera = camera
        self._step_ns = round(1e9 / fps)
        self._due_ns: int | None = None

    def read(self) -> AnyFrame | None:
        """Wait until the next frame is due; see the source for errors."""
        frame = self._camera.read()
        if frame is None:
            return None
        now = time.monotonic_ns()
        due = now if self._due_ns is None else self._due_ns
        if now < due:
            time.sleep((due - now) / 1e9)
        elif now - due > self._step_ns:
            due = now
        self._due_ns = due + self._step_ns
        return restamp(frame, captured_ns=time.monotonic_ns())

    def close(self) -> None:
        """Close the source."""
        self._camera.close()
