"""Pictures of events, with what was found drawn in."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from device_runtime.annotate import Annotator, to_jpeg
from device_runtime.contract.prediction import Prediction, json_line
from device_runtime.contract.service import Region, SnapshotSpec
from device_runtime.errors import EdgeError
from device_runtime.files import write_bytes
from device_runtime.sinks.disk_budget import MB, DiskBudget, stem_of
from device_runtime.vision.raw import AnyFrame

_QUALITY = 90


class Snapshots:
    """Writes a JPEG for each event that begins, and beside it the prediction as JSON."""

    name = "snapshots"
    vital = False
    depth = 4
    events_only = True

    def __init__(self, spec: SnapshotSpec, data: Path, regions: Mapping[str, Region] | None = None) -> None:
        """Prepare the folder, ``spec.folder`` below ``data``. Raises EdgeError when it cannot be written."""
        self._annotator = Annotator(regions)
        self._budget = DiskBudget(data / spec.folder, spec.budget_mb * MB, (".jpg", ".json"))

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Write a picture for each event that begins.

        Raises:
            EdgeError: the frame cannot be decoded, or the disk is full; nothing half-written is left.
        """
        begun = [event for event in prediction.events if event.phase == "begin"]
        if not begun:
            return
        picture = to_jpeg(self._annotator.whole(frame, prediction), _QUALITY, frame).tobytes()
        for event in begun:
            # What is beside the picture tells of this event alone.
            text = json_line(dataclasses.replace(prediction, events=(event,))) + "\n"
            self._store(stem_of(event), picture, text.encode())

    def close(self, *, failed: bool) -> None:
        """Let go of the folder."""
        del failed
        self._budget.close()

    def _store(self, stem: str, picture: bytes, text: bytes) -> None:
        """Write both files or none; the JSON comes last, so that whoever sees it finds the picture."""
        self._budget.make_room(len(picture) + len(text))
        image = self._budget.folder / f"{stem}.jpg"
        write_bytes(image, picture)
        try:
            write_bytes(image.with_suffix(".json"), text)
        except EdgeError:
            image.unlink(missing_ok=True)
            raise
