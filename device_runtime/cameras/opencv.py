"""What is used of OpenCV's VideoCapture, and what its numbers mean."""

from __future__ import annotations

import math
from typing import Any, Protocol


class OpenCapture(Protocol):
    """The part of ``cv2.VideoCapture`` that cameras use; a driver that is not OpenCV's can stand in for it."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Tell whether there is a device or file behind it."""

    def set(self, propId: int, value: float) -> bool:  # noqa: N803 - OpenCV's name
        """Ask for a property; True says that it was accepted, not that it was met."""

    def get(self, propId: int) -> float:  # noqa: N803 - OpenCV's name
        """Return what a property is now."""

    def grab(self) -> bool:
        """Wait for the next frame."""

    def retrieve(self) -> tuple[bool, Any]:
        """Return the frame that was grabbed."""

    def release(self) -> None:
        """Let go of the device or file."""


def fourcc_number(text: str) -> int:
    """Return a format's four characters as the number that OpenCV and V4L2 use."""
    return int.from_bytes(text.encode("ascii"), "little")


def fourcc_text(number: float) -> str:
    """Return a format's number as its four characters; what cannot be printed becomes ``?``."""
    characters = (int(number) & 0xFFFFFFFF).to_bytes(4, "little")
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in characters)


def known_fps(value: float) -> float | None:
    """Return a frame rate, or None for what drivers and containers say when they know none."""
    return value if math.isfinite(value) and 0 < value <= 1000 else None
