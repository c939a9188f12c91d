"""What measuring itself costs: the same recording around a model that does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from device_runtime.bench.recorder import BriefWarmUp, Goal, Recorder
from device_runtime.contract.model import Colour
from device_runtime.contract.prediction import Prediction
from device_runtime.vision.frame import Frame
from device_runtime.vision.staging import Item

_ROUNDS = 20
_FRAMES = 100


def measure_harness_us() -> float:
    """Return what noting one frame costs, in µs: the calls of a recorder, and the clock readings of a predictor.

    It is the median of 20 rounds of 100 frames each, about 10 ms in all.
    """
    recorder = Recorder(_nothing, Goal(_ROUNDS * _FRAMES, 0.0), BriefWarmUp(over=True))
    frame = Frame(np.zeros((1, 1), np.uint8), Colour.GRAY)
    rounds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(_FRAMES):
            recorder.infer(frame)()
        rounds.append((time.perf_counter_ns() - started) / 1e3 / _FRAMES)
    return float(np.median(rounds))


def _nothing(item: Item) -> Callable[[], Prediction]:
    """Read the clock as often as ``Predictor.infer`` does, and do nothing in between."""
    del item
    started = time.perf_counter_ns()
    prepared = time.perf_counter_ns()
    invoked = time.perf_counter_ns()
    copied_ms = (time.perf_counter_ns() - invoked) / 1e6

    def decode() -> Prediction:
        started_decoding = time.perf_counter_ns()
        timings = {
            "capture": 0.0,
            "prepare": (prepared - started) / 1e6,
            "invoke": (invoked - prepared) / 1e6,
            "decode": copied_ms + (time.perf_counter_ns() - started_decoding) / 1e6,
            "total": time.monotonic_ns() / 1e6,
        }
        return Prediction(0, 0, (), timings)

    return decode
