"""What every source of frames does."""

from __future__ import annotations

from typing import Protocol

from device_runtime.vision.frame import Frame


class Camera(Protocol):
    """A source of frames, read by one thread.

    ``live`` tells whether frames come by themselves: then the newest one counts, and frames that nobody took in time
    are dropped. Otherwise every frame is taken. ``fps`` is the nominal rate, None when there is none.
    """

    name: str
    live: bool
    fps: float | None

    def read(self) -> Frame | None:
        """Wait for the next frame; None at the end.

        Raises:
            CameraError: the source stopped, or is damaged.
        """

    def close(self) -> None:
        """Let go of the device or file. Called once, by the thread that reads."""
