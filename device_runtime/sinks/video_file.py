"""A video file that is written frame by frame: the whole of it, or nothing."""

from __future__ import annotations

from pathlib import Path

import cv2

from device_runtime.errors import EdgeError
from device_runtime.files import Replacement
from device_runtime.vision.frame import Pixels

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
"""Encoders that OpenCV's wheels carry themselves, by suffix."""


class VideoFile:
    """Appends pictures of any size to a video; the first one decides the video's size."""

    def __init__(self, path: Path, fps: float) -> None:
        """Prepare to write ``path``, whose suffix is one of ``CODECS``. Raises EdgeError when that is not possible."""
        self.path = path
        self.frames = 0
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._file = Replacement(path)

    @property
    def size_bytes(self) -> int:
        """How much it takes up so far."""
        try:
            return self._file.temporary.stat().st_size
        except OSError:
            return 0

    def write(self, picture: Pixels) -> None:
        """Append ``picture``, (H, W, 3) uint8 BGR. Raises EdgeError when it cannot be encoded."""
        size = (picture.shape[1], picture.shape[0])
        if self._writer is None:
            self._open(size)
        if size != self._size:
            picture = cv2.resize(picture, self._size)  # type: ignore[assignment]  # cv2's stubs lack the dtype
        if self._writer is not None:
            self._writer.write(picture)
        self.frames += 1

    def end(self) -> None:
        """Write what ends the file, and see whether it is whole; ``commit`` puts it in its place.

        Raises:
            EdgeError: the disk is full; nothing is left of it.
        """
        if self._writer is not None:
            self._writer.release()
        if not _readable(self._file.temporary, self.frames):
            self.discard()
            raise EdgeError(
                f"cannot write {self.path}: the encoder wrote less than {self.frames} frames; is the disk full?",
                hint=f"see: df -h {self.path.parent}",
            )

    def commit(self) -> None:
        """Give the ended file its name. Raises EdgeError when the disk refuses."""
        self._file.commit()

    def discard(self) -> None:
        """Leave nothing of it."""
        if self._writer is not None:
            self._writer.release()
        self._file.discard()

    def _open(self, size: tuple[int, int]) -> None:
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._file.temporary), codec, self._fps, size)
        self._size = size
        if not self._writer.isOpened():
            raise EdgeError(f"cannot write {self.path}: no encoder for {size[0]}x{size[1]} px video")


def _readable(path: Path, frames: int) -> bool:
    """Tell whether a finished file opens and holds ``frames`` frames: encoders do not report a full disk."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return bool(capture.isOpened()) and int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) >= frames
    finally:
        capture.release()
