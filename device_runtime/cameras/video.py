"""Frames through OpenCV: V4L2 cameras and video files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2

from device_runtime.contract.model import Colour
from device_runtime.errors import CameraError
from device_runtime.vision.frame import Frame

_COUNT_TOLERANCE = 0.02
"""Containers estimate their frame count from the duration; up to this share fewer frames is no damage."""


class V4l2Camera:
    """A camera at ``/dev/videoN``. One buffer, so that a frame is as new as the driver allows."""

    live = True

    def __init__(self, index: int) -> None:
        """Open the device. Raises CameraError when it is absent, busy or no camera."""
        device = Path(f"/dev/video{index}")
        self.name = f"v4l2:{index}"
        if not device.exists():
            present = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
            raise CameraError(
                f"no camera at {device}; cameras here: {present}",
                hint="plug it in and see: ls /dev/video*; or try without one: --source synthetic:belt",
            )
        self._capture = cv2.VideoCapture(index, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"cannot open {device}: busy, not permitted, or not a camera",
                hint=f"see who uses it: fuser -v {device}; and that you may: id -nG | grep -w video",
            )
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None
        self._index = 0

    def read(self) -> Frame | None:
        """Wait for the next frame. Raises CameraError when the camera is gone."""
        if not self._capture.grab():
            raise CameraError(
                f"{self.name} stopped giving frames after {self._index}",
                hint="was it unplugged? see: dmesg | tail",
            )
        captured = time.monotonic_ns()
        given, pixels = self._capture.retrieve()
        if not given:
            raise CameraError(f"{self.name}: frame {self._index} cannot be decoded")
        frame = _frame(pixels, captured, self._index, self.name)
        self._index += 1
        return frame

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


class VideoFile:
    """A video file, frame by frame, as fast as frames are taken."""

    live = False

    def __init__(self, path: Path) -> None:
        """Open the file. Raises CameraError when it is absent or no video."""
        self.name = f"file:{path}"
        if not path.is_file():
            raise CameraError(f"no such video: {path}")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(f"{path}: not a readable video: damaged, truncated, or of an unknown format")
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or None
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._index = 0

    def read(self) -> Frame | None:
        """Return the next frame. Raises CameraError when the file ends long before it should."""
        captured = time.monotonic_ns()
        given, pixels = self._capture.read()
        if not given:
            missing = self._expected - self._index
            if missing > max(2, self._expected * _COUNT_TOLERANCE):
                raise CameraError(
                    f"{self.name}: ends after {self._index} of {self._expected} frames: damaged or truncated"
                )
            return None
        frame = _frame(pixels, captured, self._index, self.name)
        self._index += 1
        return frame

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


def _frame(pixels: Any, captured: int, index: int, name: str) -> Frame:
    """Wrap what OpenCV gives: (H, W, 3) uint8 BGR; its stubs do not know the dtype."""
    return Frame(pixels, Colour.BGR, captured, index, name, (time.monotonic_ns() - captured) / 1e6)
