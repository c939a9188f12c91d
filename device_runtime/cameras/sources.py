"""Frame sources by their schemes: ``v4l2:0``, ``file:clip.mp4``, ``dir:pictures``, ``synthetic:belt``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from device_runtime.cameras.interface import Camera
from device_runtime.cameras.pictures import PictureFolder
from device_runtime.cameras.synthetic import SyntheticCamera
from device_runtime.cameras.video import V4l2Camera, VideoFile
from device_runtime.errors import CameraError, UsageError
from device_runtime.vision.frame import Frame


def _v4l2(rest: str) -> Camera:
    if not rest.isdecimal():
        raise UsageError(f"camera: expected a number as in v4l2:0, got {rest!r}", hint="see: ls /dev/video*")
    return V4l2Camera(int(rest))


SCHEMES: dict[str, Callable[[str], Camera]] = {
    "v4l2": _v4l2,
    "camera": _v4l2,
    "file": lambda rest: VideoFile(Path(rest)),
    "dir": lambda rest: PictureFolder(Path(rest)),
    "synthetic": SyntheticCamera,
}
"""What opens each scheme. ``camera:0`` is the machine's own way to camera 0, which today is V4L2."""


def open_camera(source: str) -> Camera:
    """Open a source of frames.

    Raises:
        UsageError: it is not ``SCHEME:WHAT`` with a known scheme.
        CameraError: it is absent or cannot be opened.
    """
    scheme, colon, rest = source.partition(":")
    if not colon or scheme not in SCHEMES or not rest:
        forms = "v4l2:0, file:clip.mp4, dir:pictures or synthetic:belt"
        raise UsageError(f"source: expected {forms}, got {source!r}")
    return SCHEMES[scheme](rest)


class Repeating:
    """A source that begins again at its end, so that a measurement can last as long as it needs."""

    def __init__(self, source: str) -> None:
        """Open ``source``; see ``open_camera``."""
        self._source = source
        self._camera = open_camera(source)
        self._index = 0
        self.name = self._camera.name
        self.live = self._camera.live
        self.fps = self._camera.fps

    def read(self) -> Frame | None:
        """Return the next frame. Raises CameraError when the source has none at all."""
        frame = self._camera.read()
        if frame is None:
            self._camera.close()
            self._camera = open_camera(self._source)
            frame = self._camera.read()
            if frame is None:
                raise CameraError(f"{self.name}: no frames in it")
        frame = dataclasses.replace(frame, index=self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Close the source."""
        self._camera.close()
