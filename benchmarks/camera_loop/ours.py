"""Our loop, as ``python -m device_runtime run`` runs it."""

from __future__ import annotations

from typing import Any

from camera_loop.bounds import predictor_of
from device_runtime.application import default_workers
from device_runtime.cameras.sources import Repeating
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.loop.workers import Predict


class Loop:
    """The camera loop. Options: model, spec, source, engine, workers (0: as many as the cores are good for)."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._workers = options.get("workers", 0) or default_workers(1)
        self._predictors = [predictor_of(options)]
        self._spare: list[Predict] = []

    def run(self, seconds: float) -> dict[str, Any]:
        """Predict for so long. Models stay loaded between turns, as everybody's do."""
        camera = Repeating(self._options["source"])
        first = self._predictors[0]
        self._spare = [each.infer for each in self._predictors[1:]]
        ahead = first.ahead(live=camera.live, workers=self._workers)
        setup = LoopSetup(Limits(duration_s=seconds), self._workers, self.another, capture=CaptureSetup(None, ahead))
        summary = run_loop(camera, first.infer, [], setup)
        return {"count": summary.frames, "seconds": summary.seconds, "workers": len(self._predictors)}

    def another(self) -> Predict:
        """Return a further worker's model."""
        if self._spare:
            return self._spare.pop()
        made = predictor_of(self._options)
        self._predictors.append(made)
        return made.infer
