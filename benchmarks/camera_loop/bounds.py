"""What no loop can beat: the model alone on one thread, and each stage's CPU."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from camera_loop.child import Repeated
from device_runtime.cameras.sources import Repeating
from device_runtime.contract.decode import read_json
from device_runtime.contract.model import ModelSpec
from device_runtime.predictor import Predictor


class InvokeOnly(Repeated):
    """The model on one input, again and again. Options: model, spec, source, engine."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._predictor = predictor_of(options)
        camera = Repeating(options["source"])
        frame = camera.read()
        camera.close()
        if frame is not None:
            self._predictor.predict(frame)

    def once(self) -> None:
        """Invoke it."""
        self._predictor.engine.invoke()


class Stages(Repeated):
    """One frame after the other through our own code, in one thread: the CPU of all stages is what cores share.

    OpenCV's video decoder has threads of its own, so each stage's CPU is the whole process's.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._predictor = predictor_of(options)
        self._camera = Repeating(options["source"])
        self._capture_s = 0.0

    def once(self) -> object:
        """Predict one frame."""
        began = time.process_time()
        frame = self._camera.read()
        self._capture_s += time.process_time() - began
        return None if frame is None else self._predictor.predict(frame)

    def run(self, seconds: float) -> dict[str, Any]:
        """Predict for so long; ``capture_ms`` and ``predict_ms`` are CPU per frame."""
        self._capture_s, began = 0.0, time.process_time()
        answer = super().run(seconds)
        whole = time.process_time() - began
        count = answer["count"]
        capture = self._capture_s
        return {**answer, "capture_ms": capture * 1e3 / count, "predict_ms": (whole - capture) * 1e3 / count}


def predictor_of(options: dict[str, Any]) -> Predictor:
    """Load the model of an entry's options."""
    spec = read_json(ModelSpec, Path(options["spec"]))
    return Predictor(Path(options["model"]), spec, options.get("engine", "litert"))
