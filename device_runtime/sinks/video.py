"""Annotated video: frames with their predictions drawn in."""

from __future__ import annotations

from pathlib import Path

import cv2

from device_runtime.contract.model import Colour
from device_runtime.contract.prediction import Prediction
from device_runtime.draw import draw
from device_runtime.errors import EdgeError, UsageError
from device_runtime.files import Replacement
from device_runtime.vision.colour import convert
from device_runtime.vision.frame import Frame

_CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
"""Encoders that OpenCV's wheels carry themselves, by suffix."""

_DEFAULT_FPS = 25.0


class AnnotatedVideo:
    """Writes a video file: the whole of it, or nothing."""

    def __init__(self, path: Path, fps: float | None) -> None:
        """Prepare to write ``path``.

        Raises:
            UsageError: its suffix is not that of a video.
            EdgeError: it cannot be written there.
        """
        if path.suffix.lower() not in _CODECS:
            raise UsageError(f"{path}: expected a video file ({', '.join(_CODECS)}), got suffix {path.suffix!r}")
        self._path = path
        self._fps = fps or _DEFAULT_FPS
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self.frames = 0
        self._file = Replacement(path)

    def take(self, frame: Frame, prediction: Prediction) -> None:
        """Draw and append one frame; the first one decides the size, others are fitted to it."""
        if self._writer is None:
            self._open((frame.width, frame.height))
        picture = convert(frame.pixels, frame.colour, Colour.BGR)
        if picture is frame.pixels:
            picture = picture.copy()
        draw(picture, prediction)
        if (frame.width, frame.height) != self._size:
            picture = cv2.resize(picture, self._size)  # type: ignore[assignment]  # cv2's stubs lack the dtype
        if self._writer is not None:
            self._writer.write(picture)
        self.frames += 1

    def close(self, *, failed: bool) -> None:
        """Finish the file and put it in its place, or remove it."""
        if self._writer is not None:
            self._writer.release()
        if failed or self.frames == 0:
            self._file.discard()
        elif _readable(self._file.temporary, self.frames):
            self._file.commit()
        else:
            self._file.discard()
            raise EdgeError(
                f"cannot write {self._path}: the encoder wrote less than {self.frames} frames; is the disk full?",
                hint=f"see: df -h {self._path.parent}",
            )

    def _open(self, size: tuple[int, int]) -> None:
        codec = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._file.temporary), codec, self._fps, size)
        self._size = size
        if not self._writer.isOpened():
            raise EdgeError(f"cannot write {self._path}: no encoder for {size[0]}x{size[1]} px video")


def _readable(path: Path, frames: int) -> bool:
    """Tell whether a finished file opens and holds ``frames`` frames: encoders do not report a full disk."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return bool(capture.isOpened()) and int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) >= frames
    finally:
        capture.release()
