"""What every source of frames does."""

from __future__ import annotations

from typing import Protocol

from device_runtime.vision.raw import AnyFrame


class Camera(Protocol):
    """A source of frames, read by one thread.

    ``live`` tells whether frames come by themselves: then the newest one counts, frames that nobody took in time are
    dropped, and a source that stops is opened again. Otherwise every frame is taken. ``fps`` is the nominal rate, None
    when there is none. A live camera gives frames as undecoded as it can (``RawFrame``): most are dropped under
    overload, and of the others the model looks at a small version.
    """

    name: str
    live: bool
    fps: float | None

    def read(self) -> AnyFrame | None:
        """Wait for the next frame; None at the end.

        Raises:
            DamagedFrameError: this frame cannot be used; the next one may.
            CameraError: the source stopped, or is damaged.
        """

    def close(self) -> None:
        """Let go of the device or file. Called once, by the thread that reads."""
