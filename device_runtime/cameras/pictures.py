"""Frames from a folder of pictures."""

from __future__ import annotations

from pathlib import Path

from device_runtime.errors import CameraError
from device_runtime.vision.frame import Frame
from device_runtime.vision.picture import list_pictures, read_picture


class PictureFolder:
    """The pictures below a folder, in the order of their names, each once."""

    live = False
    fps: float | None = None

    def __init__(self, folder: Path) -> None:
        """List the pictures. Raises CameraError when there are none."""
        self.name = f"dir:{folder}"
        if not folder.is_dir():
            raise CameraError(f"no such folder of pictures: {folder}")
        self._paths = list_pictures(folder)
        if not self._paths:
            raise CameraError(f"{folder}: no pictures in it", hint=f"see: ls {folder}")
        self._index = 0

    def read(self) -> Frame | None:
        """Return the next picture. Raises BadFileError when it is damaged."""
        if self._index == len(self._paths):
            return None
        frame = read_picture(self._paths[self._index], self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Nothing is left open."""
