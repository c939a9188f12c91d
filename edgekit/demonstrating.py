"""The demo: a model in the camera loop, with what it finds drawn into a video."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.application import Application, run_application
from device_runtime.cameras.interface import Camera
from device_runtime.cameras.sources import public_name
from device_runtime.contract.events import Events, Progress, Step
from device_runtime.contract.prediction import Prediction
from device_runtime.contract.service import ServiceSpec
from device_runtime.loop.run import Limits
from device_runtime.sinks.interface import Sink
from device_runtime.sinks.video import AnnotatedVideo
from device_runtime.vision.raw import AnyFrame
from edgekit.project.locate import LocatedModel


@dataclass(frozen=True)
class DemoRequest:
    """How to run the model, how many frames (None: all), and where the annotated video goes (None: nowhere).

    ``service`` is what the project says of the board, with this machine's source; its sinks are not opened.
    """

    service: ServiceSpec
    frames: int | None = None
    save: Path | None = None


@dataclass(frozen=True)
class DemoResult:
    """What a demo saw: ``seen`` counts, over all frames, what each label was given to.

    That is the objects of a detector, the best class of a classifier, the classes of a segmenter that are in the
    frame; a regression gives no label to anything.
    """

    model: str
    source: str
    frames: int
    dropped: int
    fps: float
    seen: dict[str, int] = field(default_factory=dict)
    video: str | None = None
    interrupted: bool = False


def run_demo(located: LocatedModel, request: DemoRequest, events: Events) -> DemoResult:
    """Run a model on a source until it ends or enough frames were seen; write the annotated video.

    Raises:
        CameraError: the source is absent, stopped or is damaged; nothing is saved then.
        ModelError: the model cannot be run.
        EdgeError: the video cannot be written.
    """
    service = dataclasses.replace(request.service, jsonl=None, mqtt=None, webhook=None, snapshots=None, clips=None)
    source = public_name(service.source)
    events(Step(f"run {located.spec.name} on {source}"))
    counter = _Counter(events, request.frames, located.spec.task.name)
    videos: list[AnnotatedVideo] = []

    def sinks(camera: Camera) -> list[Sink]:
        if request.save is not None:
            videos.append(AnnotatedVideo(request.save, camera.fps, service.regions))
        return [counter, *videos]

    application = Application(located.model, located.spec, service, located.spec.name, limits=Limits(request.frames))
    summary = run_application(application, sinks, events)
    saved = str(request.save) if any(video.frames for video in videos) else None
    return DemoResult(
        located.spec.name,
        source,
        summary.frames,
        summary.dropped,
        round(summary.fps, 2),
        dict(counter.seen.most_common()),
        saved,
        summary.interrupted,
    )


class _Counter:
    """Counts what is found, and tells how far the run is."""

    name = "counter"
    vital = True
    depth = 16
    events_only = False

    def __init__(self, events: Events, total: int | None, task: str) -> None:
        self._events = events
        self._total = total
        self._counted = {"classification": 1, "regression": 0}.get(task)
        self._done = 0
        self.seen: Counter[str] = Counter()

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        del frame
        if prediction.closing:
            return
        self.seen.update(item.label for item in prediction.items[: self._counted])
        self._done += 1
        self._events(Progress(self._done, self._total, "frames"))

    def close(self, *, failed: bool) -> None:
        del failed
