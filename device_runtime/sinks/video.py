"""Annotated video: frames with their predictions drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from device_runtime.annotate import Annotator
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import Region
from device_runtime.errors import UsageError
from device_runtime.sinks.video_file import CODECS, VideoFile
from device_runtime.vision.raw import AnyFrame

_DEFAULT_FPS = 25.0


class AnnotatedVideo:
    """Writes a video file: the whole of it, or nothing."""

    name = "video"
    vital = True
    depth = 4
    events_only = False

    def __init__(self, path: Path, fps: float | None, regions: Mapping[str, Region] | None = None) -> None:
        """Prepare to write ``path``, with ``regions`` outlined.

        Raises:
            UsageError: its suffix is not that of a video.
            EdgeError: it cannot be written there.
        """
        if path.suffix.lower() not in CODECS:
            raise UsageError(f"{path}: expected a video file ({', '.join(CODECS)}), got suffix {path.suffix!r}")
        self._file = VideoFile(path, fps or _DEFAULT_FPS)
        self._annotator = Annotator(regions)

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return self._file.frames

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Draw and append one frame; the first one decides the size, others are fitted to it."""
        if prediction.closing:
            return
        self._file.write(self._annotator.whole(frame, prediction))

    def close(self, *, failed: bool) -> None:
        """Finish the file and put it in its place, or remove it."""
        if failed or self._file.frames == 0:
            self._file.discard()
            return
        self._file.end()
        self._file.commit()
