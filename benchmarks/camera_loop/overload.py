"""A camera that gives twice the frames that the loop can take: how old are results, and do they grow older?"""

from __future__ import annotations

import statistics
import time
from typing import Any

from camera_loop.bounds import predictor_of
from device_runtime.application import default_workers
from device_runtime.cameras.paced import Paced
from device_runtime.cameras.sources import Repeating
from device_runtime.contract.prediction import Prediction
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.vision.raw import AnyFrame

_STAGES = ("capture", "prepare", "invoke", "decode")


class Ages:
    """A sink that notes how old each result is when it comes, and what its stages took."""

    name = "ages"
    vital = True
    depth = 0
    events_only = False

    def __init__(self) -> None:
        self.ages_ms: list[float] = []
        self.stages_ms: list[float] = []

    def take(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Note one result."""
        self.ages_ms.append((time.monotonic_ns() - frame.captured_ns) / 1e6)
        self.stages_ms.append(sum(prediction.timings_ms.get(stage, 0.0) for stage in _STAGES))

    def close(self, *, failed: bool) -> None:
        """Nothing is to be closed."""
        del failed


class Overloaded:
    """The loop on a camera of twice its rate. Options: model, spec, source, workers (0: as the cores are good for)."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._workers = options.get("workers", 0) or default_workers(1)
        self._first = predictor_of(options)

    def run(self, seconds: float) -> dict[str, Any]:
        """Find the rate that it can keep up, then give it twice as many frames."""
        camera = Repeating(self._options["source"])
        kept_up = run_loop(camera, self._first.predict, [], self._setup(2.0, live=False)).fps
        fps = 2 * kept_up
        sink = Ages()
        paced = Paced(Repeating(self._options["source"]), fps)
        summary = run_loop(paced, self._first.predict, [sink], self._setup(seconds, live=True))
        ages = sink.ages_ms[len(sink.ages_ms) // 10 :]  # further workers start when frames wait for them
        third = len(ages) // 3
        return {
            "count": summary.frames,
            "fps": fps,
            "dropped": summary.dropped,
            "age_p50_ms": statistics.median(ages),
            "age_p95_ms": p95(ages),
            "first_p95_ms": p95(ages[:third]),
            "last_p95_ms": p95(ages[-third:]),
            "bound_ms": 2 * (1e3 / fps + statistics.median(sink.stages_ms)),
            "stages_ms": statistics.median(sink.stages_ms),
        }

    def _setup(self, seconds: float, *, live: bool) -> LoopSetup:
        ahead = self._first.ahead(live=live, workers=self._workers)
        return LoopSetup(
            Limits(duration_s=seconds),
            self._workers,
            lambda: predictor_of(self._options).predict,
            capture=CaptureSetup(None, ahead),
        )


def p95(values: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]
