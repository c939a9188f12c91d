"""Notes what each frame took, from the moment on when latencies have settled and until there are enough of them."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device_runtime.annotate import Annotator
from device_runtime.cameras.interface import Camera
from device_runtime.contract.prediction import DRAW, STAGES, Prediction
from device_runtime.errors import CameraError
from device_runtime.loop.progress import Progress
from device_runtime.machine import rss_bytes
from device_runtime.vision.raw import AnyFrame
from device_runtime.vision.staging import Item, frame_of

WARMUP_FRAMES = 10
WARMUP_S = 1.0
WARMUP_MOST_S = 10.0
STEADY_WITHIN = 0.05
"""Warming up ends when the medians of ``invoke`` of two neighbouring windows, each of at least 5 frames and 0.5 s,
differ by less than 5%, or, not steady, after 10 s and 10 frames.

On an idle machine the first window of a model that packs its weights was 18% above the next, and those that followed
differed by 1–4%; where others worked, windows differed by 10–80% for as long as they did.
"""

_WINDOWS = 2

Inferred = Callable[[Item], Callable[[], Prediction]]
"""What ``Predictor.infer`` does: run the model on a frame, and return what decodes its answer."""


class WarmUp:
    """Decides when latencies have settled; see ``STEADY_WITHIN``."""

    def __init__(self) -> None:
        self.over = False
        self.steady = False
        self.frames = 0
        self._window: list[float] = []
        self._began = self._window_began = 0.0
        self._before: float | None = None

    def add(self, now_s: float, invoke_ms: float) -> None:
        """Take note of a prediction that was finished at ``now_s``, by any clock that cannot step."""
        if self.frames == 0:
            self._began = self._window_began = now_s
        self.frames += 1
        self._window.append(invoke_ms)
        if len(self._window) >= WARMUP_FRAMES // _WINDOWS and now_s - self._window_began >= WARMUP_S / _WINDOWS:
            median = float(np.median(self._window))
            if self._before is not None:
                self.steady = abs(median - self._before) < STEADY_WITHIN * self._before
            self._before, self._window, self._window_began = median, [], now_s
        late = now_s - self._began >= WARMUP_MOST_S and self.frames >= WARMUP_FRAMES
        self.over = self.steady or late


@dataclass
class BriefWarmUp:
    """Leaves out the first second, and at least one frame: the model is warm, and its frames come anew."""

    over: bool = False
    steady: bool = True
    frames: int = 0
    began: float | None = None

    def add(self, now_s: float, invoke_ms: float) -> None:
        """Take note of a prediction."""
        del invoke_ms
        self.frames += 1
        self.began = now_s if self.began is None else self.began
        self.over = now_s - self.began >= WARMUP_S


@dataclass(frozen=True)
class Goal:
    """How much is to be measured: at least so many frames, and for at least so long."""

    frames: int
    duration_s: float


class Recorder:
    """Runs frames through a model and notes their timings. ``infer`` is what a worker of the loop calls.

    ``first_frame`` was in the model first; ``grown_bytes`` is what the process's resident memory grew by meanwhile.
    ``first_at`` is when its prediction was finished, and ``counted_from`` that of the first counted one, by
    ``perf_counter``.
    """

    def __init__(self, infer: Inferred, goal: Goal, warm_up: WarmUp | BriefWarmUp, *, draw: bool = False) -> None:
        self.stages = (*STAGES, DRAW) if draw else STAGES
        self.warm_up = warm_up
        self.enough = threading.Event()
        self.first_done = threading.Event()
        self.first_frame: AnyFrame | None = None
        self.first_at = 0.0
        self.grown_bytes: int | None = None
        self.frames = 0
        self._infer = infer
        self._goal = goal
        self._annotator = Annotator() if draw else None
        self._samples = array("d")
        self.counted_from = self._last = 0.0
        self._indices = (0, 0)

    @property
    def seconds(self) -> float:
        """From the first counted prediction to the last."""
        return self._last - self.counted_from

    @property
    def fps(self) -> float:
        """Counted predictions per second."""
        return (self.frames - 1) / self.seconds if self.seconds > 0 else 0.0

    @property
    def skipped(self) -> int:
        """How many frames between the first and the last counted one have no prediction."""
        return self._indices[1] - self._indices[0] + 1 - self.frames if self.frames else 0

    def samples(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return for each stage what the counted frames took, (n,) in ms."""
        table = np.array(self._samples).reshape(-1, len(self.stages))
        return {stage: np.ascontiguousarray(table[:, column]) for column, stage in enumerate(self.stages)}

    def infer(self, item: Item) -> Callable[[], Prediction]:
        """Run the model; what is returned decodes, draws where that is asked for, and notes the timings."""
        frame = frame_of(item)
        if self.first_done.is_set():
            decode = self._infer(item)
        else:
            before = rss_bytes()
            decode = self._infer(item)
            after = rss_bytes()
            self.grown_bytes = None if before is None or after is None else max(0, after - before)
            self.first_frame = frame
            self.first_done.set()
        return lambda: self._noted(decode(), frame)

    def _noted(self, prediction: Prediction, frame: AnyFrame) -> Prediction:
        now = time.perf_counter()
        timings = prediction.timings_ms
        if self._annotator is not None:
            self._annotator.whole(frame, prediction)
            timings = {**timings, DRAW: (time.perf_counter() - now) * 1e3}
        if self.warm_up.over:
            self._count(now, timings, prediction.frame_index)
        else:
            self.first_at = self.first_at or now
            self.warm_up.add(now, timings["invoke"])
        return prediction

    def _count(self, now: float, timings: dict[str, float], index: int) -> None:
        if self.enough.is_set():
            return
        if self.frames == 0:
            self.counted_from = now
            self._indices = (index, index)
        self.frames += 1
        self._last = now
        self._indices = (self._indices[0], index)
        self._samples.extend([timings[stage] for stage in self.stages])
        if self.frames >= self._goal.frames and now - self.counted_from >= self._goal.duration_s:
            self.enough.set()


class Supply:
    """A camera that ends when a recorder has enough.

    It gives its second frame after the first one was in the model, so that no frame is taken for the model's memory,
    and waits for that no longer than ``hold_s``.
    """

    def __init__(self, camera: Camera, recorder: Recorder, hold_s: float) -> None:
        """Give the frames of ``camera``."""
        self.name = camera.name
        self.live = camera.live
        self.fps = camera.fps
        self._camera = camera
        self._recorder = recorder
        self._hold_s = hold_s
        self._began = False

    def read(self) -> AnyFrame | None:
        """Return the next frame; None when there are enough, or at the end. See the source for errors."""
        if self._began:
            self._recorder.first_done.wait(self._hold_s)
        self._began = True
        return None if self._recorder.enough.is_set() else self._camera.read()

    def close(self) -> None:
        """Close the source."""
        self._camera.close()


class Watchman:
    """Ends a run whose frames all are damaged: it would go on for ever. A ``Keeper`` of the loop."""

    def __init__(self, name: str, patience_s: float) -> None:
        """Watch the frames of the source ``name``."""
        self._name = name
        self._patience_s = patience_s
        self._delivered = 0
        self._since = time.monotonic()

    def look(self, progress: Progress) -> None:
        """Raise CameraError where frames come and no prediction does, though the model waits for them."""
        now = time.monotonic()
        if progress.look() is not None or progress.delivered != self._delivered:
            self._delivered, self._since = progress.delivered, now
        elif now - self._since > self._patience_s:
            raise CameraError(
                f"{self._name}: no frame that can be decoded for {self._patience_s:g} s",
                hint="look at what it gives: edgekit run --page",
            )

    def stopping(self) -> None:
        """Nothing is left to be watched."""
