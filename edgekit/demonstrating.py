"""The demo: a model in the camera loop, with what it finds drawn into a video."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from device_runtime.cameras.sources import open_camera
from device_runtime.contract.events import Events, Progress, Step
from device_runtime.contract.prediction import Prediction
from device_runtime.loop import Limits, run_loop
from device_runtime.predictor import Predictor
from device_runtime.sinks.interface import Sink
from device_runtime.sinks.video import AnnotatedVideo
from device_runtime.vision.frame import Frame
from edgekit.project.locate import LocatedModel


@dataclass(frozen=True)
class DemoRequest:
    """Where frames come from, how many (None: all), and where the annotated video goes (None: nowhere)."""

    source: str
    frames: int | None = None
    save: Path | None = None
    engine: str = "auto"
    threads: int = 1


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
    predictor = Predictor(located.model, located.spec, request.engine, request.threads)
    camera = open_camera(request.source)
    events(Step(f"run {located.spec.name} on {request.source} with {predictor.engine.name} {predictor.engine.version}"))
    counter = _Counter(events, request.frames, located.spec.task.name)
    sinks: list[Sink] = [counter]
    video = None
    if request.save is not None:
        video = AnnotatedVideo(request.save, camera.fps)
        sinks.append(video)
    summary = run_loop(camera, predictor.predict, sinks, Limits(request.frames))
    saved = str(request.save) if video is not None and video.frames else None
    return DemoResult(
        located.spec.name,
        request.source,
        summary.frames,
        summary.dropped,
        round(summary.fps, 2),
        dict(counter.seen.most_common()),
        saved,
        summary.interrupted,
    )


class _Counter:
    """Counts what is found, and tells how far the run is."""

    def __init__(self, events: Events, total: int | None, task: str) -> None:
        self._events = events
        self._total = total
        self._counted = {"classification": 1, "regression": 0}.get(task)
        self._done = 0
        self.seen: Counter[str] = Counter()

    def take(self, frame: Frame, prediction: Prediction) -> None:
        del frame
        self.seen.update(item.label for item in prediction.items[: self._counted])
        self._done += 1
        self._events(Progress(self._done, self._total, "frames"))

    def close(self, *, failed: bool) -> None:
        del failed
