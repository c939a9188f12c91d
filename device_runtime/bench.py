"""The bench harness: the real loop, timed stage by stage. The same code measures on the host and on the board."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_runtime.cameras.sources import Repeating, public_name
from device_runtime.contract.bench import BenchReport, EngineFacts, LatencyStats, MachineState, ModelFacts
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.prediction import STAGES, Prediction
from device_runtime.engine.interface import Engine
from device_runtime.errors import CameraError, Interrupted
from device_runtime.files import sha256_of
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.machine import busy, peak_rss_bytes, read_machine, throttling
from device_runtime.predictor import Predictor
from device_runtime.vision.staging import Item

WARMUP_FRAMES = 10
WARMUP_S = 1.0
"""Frames are not counted until both are reached: caches, clocks and the interpreter's arena settle in them."""

SAMPLES_FOR_P90 = 64
SAMPLES_FOR_P99 = 662
"""MLPerf Inference's LoadGen: what a percentile takes at 90% confidence."""

_MAX_SAMPLES = 5000


@dataclass(frozen=True)
class BenchRequest:
    """What to measure. ``source`` begins again at its end until ``duration_s`` are over."""

    model: Path
    spec: ModelSpec
    source: str = "synthetic:pattern"
    duration_s: float = 10.0
    engine: str = "auto"
    threads: int = 1
    release: str | None = None


def run_bench(request: BenchRequest) -> BenchReport:
    """Measure a model in the camera loop.

    Raises:
        CameraError: the source stopped, or gave too few frames to measure anything.
        ModelError: the model cannot be run.
        Interrupted: it was stopped; there is no report then.
    """
    before = read_machine()
    camera = Repeating(request.source)
    started = time.perf_counter()
    predictor = Predictor(request.model, request.spec, request.engine, request.threads)
    recorder = _Recorder(predictor, started)
    capture = CaptureSetup(stage=predictor.ahead(live=camera.live, workers=1))
    setup = LoopSetup(Limits(duration_s=request.duration_s + WARMUP_S), capture=capture)
    summary = run_loop(camera, recorder.infer, [], setup)
    after = read_machine()
    if summary.interrupted:
        raise Interrupted("stopped while measuring")
    frames = len(recorder.timings)
    if frames < 2:
        raise CameraError(
            f"{camera.name}: {summary.frames} frames in {summary.seconds:.1f} s are too few to measure",
            hint="measure longer: --duration 30",
        )
    samples = np.array(recorder.timings)
    stats = {stage: summarise(samples[:, column]) for column, stage in enumerate(STAGES)}
    engine = predictor.engine
    tensor = engine.inputs[0]
    return BenchReport(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        model=ModelFacts(
            request.spec.name,
            sha256_of(request.model),
            request.model.stat().st_size,
            f"{'x'.join(str(side) for side in tensor.shape)} {tensor.dtype}",
        ),
        engine=EngineFacts(engine.name, engine.version, engine.threads, engine.delegate),
        source=public_name(request.source),
        duration_s=recorder.seconds,
        warmup_frames=summary.frames - frames,
        stages=stats,
        samples_ms={stage: _thinned(samples[:, column]) for column, stage in enumerate(STAGES)},
        fps=(frames - 1) / recorder.seconds,
        frames=frames,
        dropped=summary.dropped,
        load_ms=predictor.load_ms,
        first_inference_ms=recorder.first_inference_ms,
        peak_rss_bytes=peak_rss_bytes(),
        before=before,
        after=after,
        warnings=tuple(_warnings(before, after, frames)),
        release=request.release,
    )


def summarise(values: Sequence[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> LatencyStats:
    """Return the statistics of at least one latency in ms; percentiles are interpolated linearly."""
    data = np.asarray(values, np.float64)
    count = len(data)
    return LatencyStats(
        count=count,
        mean=float(data.mean()),
        p50=float(np.percentile(data, 50)),
        min=float(data.min()),
        max=float(data.max()),
        p90=float(np.percentile(data, 90)) if count >= SAMPLES_FOR_P90 else None,
        p99=float(np.percentile(data, 99)) if count >= SAMPLES_FOR_P99 else None,
    )


def time_in_turns(engines: Sequence[Engine], rounds: int = 9, slice_s: float = 0.05) -> list[LatencyStats]:
    """Return how long each engine's ``invoke`` takes, on whatever its inputs hold.

    They run in turns, so that all meet the same machine: what slows it down for a while slows all of them.

    Args:
        engines: loaded models, 1 or more.
        rounds: how often each has its turn.
        slice_s: a turn's length; at least one invocation is made.

    Raises:
        ModelError: a model fails.
    """
    samples: list[list[float]] = [[] for _ in engines]
    for engine in engines:
        engine.invoke()
    for _ in range(rounds):
        for engine, mine in zip(engines, samples, strict=True):
            end = time.perf_counter() + slice_s
            now = 0.0
            while now < end:
                started = time.perf_counter()
                engine.invoke()
                now = time.perf_counter()
                mine.append((now - started) * 1e3)
    return [summarise(mine) for mine in samples]


class _Recorder:
    """Runs the model and keeps the timings of frames after the warm-up."""

    def __init__(self, predictor: Predictor, started: float) -> None:
        self._predictor = predictor
        self._started = started
        self._first_at: float | None = None
        self._seen = 0
        self._counted_from = 0.0
        self._last = 0.0
        self.first_inference_ms = 0.0
        self.timings: list[list[float]] = []

    @property
    def seconds(self) -> float:
        """From the first counted prediction to the last."""
        return self._last - self._counted_from

    def infer(self, item: Item) -> Callable[[], Prediction]:
        """Run the model; what is returned decodes and notes the timings."""
        decode = self._predictor.infer(item)
        return lambda: self._noted(decode())

    def _noted(self, prediction: Prediction) -> Prediction:
        now = time.perf_counter()
        if self._first_at is None:
            self._first_at = now
            self.first_inference_ms = (now - self._started) * 1e3
        self._seen += 1
        if self._seen > WARMUP_FRAMES and now - self._first_at >= WARMUP_S:
            if not self.timings:
                self._counted_from = now
            self._last = now
            self.timings.append([prediction.timings_ms[stage] for stage in STAGES])
        return prediction


def _thinned(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    if len(values) > _MAX_SAMPLES:
        values = values[np.linspace(0, len(values) - 1, _MAX_SAMPLES).astype(int)]
    return tuple(round(float(value), 4) for value in values)


def _warnings(before: MachineState, after: MachineState, frames: int) -> list[str]:
    found = [f"the machine was slowed down: {name}" for name in throttling(before, after)]
    if busy(before):
        found.append(
            f"the machine was busy before the run (load {before.load_1min:.1f} on {before.cores} cores): "
            "others' work is in these numbers"
        )
    if before.governor not in (None, "performance"):
        found.append(f"CPU governor is {before.governor}: the clock follows the load, and latencies vary with it")
    if frames < SAMPLES_FOR_P99:
        missing = "p99" if frames >= SAMPLES_FOR_P90 else "p90 and p99"
        needed = SAMPLES_FOR_P99 if frames >= SAMPLES_FOR_P90 else SAMPLES_FOR_P90
        found.append(f"{frames} frames are too few for {missing}; measure longer (from {needed} frames on)")
    return found
