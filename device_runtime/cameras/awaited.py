"""A camera that is not open yet: what a service begins with, so that one that is missing is waited for."""

from __future__ import annotations

from device_runtime.errors import CameraError
from device_runtime.vision.raw import AnyFrame


class Awaited:
    """Stands for a live camera until the loop has opened it; ``name`` is for people."""

    live = True
    fps: float | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self) -> AnyFrame | None:
        """Raise CameraError: it is opened first."""
        raise CameraError(f"{self.name} is not open yet")

    def close(self) -> None:
        """Nothing is open."""
