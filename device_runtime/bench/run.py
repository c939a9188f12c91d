"""Measures a model in the camera loop, as an application would run it, and tells what came of it as a report."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device_runtime.bench.cold import measure_cold_starts
from device_runtime.bench.cost import measure_harness_us
from device_runtime.bench.first import FirstRequest
from device_runtime.bench.recorder import (
    STEADY_WITHIN,
    WARMUP_MOST_S,
    BriefWarmUp,
    Goal,
    Recorder,
    Supply,
    WarmUp,
    Watchman,
)
from device_runtime.bench.statistics import NEEDED_SAMPLES, SAMPLES_FOR_P90, summarise
from device_runtime.cameras.interface import Camera
from device_runtime.cameras.options import MAX_FPS, CameraOptions
from device_runtime.cameras.paced import Paced
from device_runtime.cameras.sources import Repeating, public_name
from device_runtime.contract.bench import (
    AtRate,
    BenchReport,
    ColdStart,
    EngineFacts,
    MachineState,
    ModelFacts,
)
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.service import ServiceSpec, changed
from device_runtime.engine.profile import Profiled, profile_operators
from device_runtime.errors import CameraError, Interrupted, UsageError
from device_runtime.files import sha256_of
from device_runtime.loop.capture import CaptureSetup
from device_runtime.loop.run import STALL_S, Limits, LoopSetup, RunSummary, run_loop
from device_runtime.machine import disturbances, peak_rss_bytes, read_machine, rss_bytes
from device_runtime.predictor import Predictor
from device_runtime.watch import Watch

PROFILE_S = 2.0
"""How long the operators are profiled, after everything else."""

MOST_COLD_STARTS = 100

_MAX_SAMPLES = 5000
_PERIODS = 3
"""A camera of a low rate has stopped when it gives no frame for so many of its periods."""

_RATE_KEPT = 0.98
"""A source that gives less than this share of the frames it was asked for is slower than the camera it plays."""


@dataclass(frozen=True)
class BenchRequest:
    """What to measure: at least ``runs`` frames and ``duration_s`` seconds, after the warm-up.

    ``source`` begins again at its end for as long as it takes; ``camera`` is what is asked of a camera. With
    ``camera_fps`` the source is then played as a live camera of that rate, for ``duration_s`` again. ``operators``
    profiles the model's operators, ``cold_starts`` is how many new processes are timed, ``draw`` draws what was found.
    """

    model: Path
    spec: ModelSpec
    source: str = "synthetic:pattern"
    duration_s: float = 10.0
    engine: str = "auto"
    threads: int = 1
    release: str | None = None
    runs: int = SAMPLES_FOR_P90
    camera_fps: float | None = None
    operators: bool = False
    cold_starts: int = 0
    draw: bool = False
    delegate: str = "auto"
    camera: CameraOptions = dataclasses.field(default_factory=CameraOptions)

    def __post_init__(self) -> None:
        """Check the numbers. Raises UsageError."""
        if not 0 < self.duration_s < math.inf:  # also refuses NaN
            raise UsageError(f"duration: expected a number of seconds above 0, got {self.duration_s:g}")
        if self.runs < 2:
            raise UsageError(f"runs: expected 2 or more, got {self.runs}")
        if not 0 <= self.cold_starts <= MOST_COLD_STARTS:
            raise UsageError(f"cold starts: expected 0–{MOST_COLD_STARTS}, got {self.cold_starts}")
        if self.camera_fps is not None and not 0 < self.camera_fps <= MAX_FPS:
            raise UsageError(f"camera fps: expected more than 0 and at most {MAX_FPS:g}, got {self.camera_fps:g}")


def run_bench(request: BenchRequest) -> BenchReport:
    """Measure a model in the camera loop.

    Cold starts come first, before this process loads the model; then the loop as fast as it goes; then the fixed rate;
    then the operators. Only clocks that cannot step are used; ``created`` alone is the time of day.

    Raises:
        UsageError: the engine or the source is none, or the source has a rate of its own and is given another.
        CameraError: the source stopped, or gave too few frames to measure anything.
        ModelError: the model cannot be run.
        UnfitError: this machine lacks the engine.
        Interrupted: it was stopped; there is no report then.
        EdgeError: a cold start's process died.
    """
    before = read_machine()
    if request.cold_starts or request.camera_fps is not None:
        _check_source(request)
    cold_start = None
    if request.cold_starts:
        first = FirstRequest(str(request.model.absolute()), request.spec, _service(request))
        cold_start = ColdStart(measure_cold_starts(first, request.cold_starts))
    watched_from = time.perf_counter()
    with Watch() as watch:
        measured = _measure(request)
        peak_bytes = peak_rss_bytes()
        at_rate = _measure_at_rate(request, request.camera_fps, measured.predictor) if request.camera_fps else None
    after = read_machine()
    engine = _engine_facts(measured.predictor)
    profiled = _profile(request, measured, engine) if request.operators else Profiled()
    recorder = measured.recorder
    samples = recorder.samples()
    stages = {stage: summarise(values) for stage, values in samples.items()}
    disturbed = disturbances(before, after, watch.moments)
    return BenchReport(
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        model=model_facts(request.model, request.spec),
        engine=engine,
        source=public_name(request.source),
        duration_s=recorder.seconds,
        warmup_frames=recorder.warm_up.frames,
        stages=stages,
        samples_ms={stage: _thinned(values) for stage, values in samples.items()},
        fps=recorder.fps,
        frames=recorder.frames,
        dropped=measured.summary.dropped,
        load_ms=measured.predictor.load_ms,
        first_inference_ms=(recorder.first_at - measured.started) * 1e3,
        peak_rss_bytes=peak_bytes,
        before=before,
        after=after,
        warnings=(*disturbed, *_warnings(before, measured), *_rate_warnings(at_rate), *_profile_warnings(profiled)),
        release=request.release,
        steady=recorder.warm_up.steady,
        disturbed=disturbed,
        model_rss_bytes=measured.model_rss_bytes,
        harness_us=round(measure_harness_us(), 3),
        during=watch.moments,
        measured_from_s=recorder.counted_from - watched_from,
        operators=profiled.profile,
        cold_start=cold_start,
        at_rate=at_rate,
    )


@dataclass(frozen=True)
class _Measured:
    """What the loop gave; ``started`` is when loading the model began, by ``perf_counter``."""

    predictor: Predictor
    recorder: Recorder
    summary: RunSummary
    started: float
    model_rss_bytes: int | None


def _measure(request: BenchRequest) -> _Measured:
    """Load the model and run the loop until there is enough."""
    with contextlib.ExitStack() as unused:
        camera = Repeating(request.source, request.camera)
        unused.callback(camera.close)
        memory = rss_bytes()
        started = time.perf_counter()
        predictor = Predictor(request.model, request.spec, request.engine, request.threads, request.delegate)
        loaded = rss_bytes()
        unused.pop_all()  # from here on the loop closes the camera
    recorder = Recorder(predictor.infer, Goal(request.runs, request.duration_s), WarmUp(), draw=request.draw)
    summary = _run(camera, recorder, predictor, STALL_S)
    grown = None
    if memory is not None and loaded is not None and recorder.grown_bytes is not None:
        grown = max(0, loaded - memory) + recorder.grown_bytes
    return _Measured(predictor, recorder, summary, started, grown)


def _measure_at_rate(request: BenchRequest, camera_fps: float, predictor: Predictor) -> AtRate:
    """Play the source as a live camera, with the model that is loaded."""
    recorder = Recorder(predictor.infer, Goal(2, request.duration_s), BriefWarmUp())
    camera = Paced(Repeating(request.source, request.camera), camera_fps)
    _run(camera, recorder, predictor, max(STALL_S, _PERIODS / camera_fps))
    return AtRate(
        camera_fps=camera_fps,
        fps=recorder.fps,
        frames=recorder.frames,
        dropped=recorder.skipped,
        latency=summarise(recorder.samples()["total"]),
    )


def _run(camera: Camera, recorder: Recorder, predictor: Predictor, stall_s: float) -> RunSummary:
    setup = LoopSetup(
        Limits(stall_s=stall_s),
        capture=CaptureSetup(stage=predictor.ahead(live=camera.live, workers=1)),
        keeper=Watchman(camera.name, stall_s),
    )
    # Less than what the loop would take for a camera that hangs.
    supply = Supply(camera, recorder, hold_s=stall_s / 2)
    summary = run_loop(supply, recorder.infer, [], setup)
    if summary.interrupted:
        raise Interrupted("stopped while measuring")
    if not recorder.enough.is_set():
        raise CameraError(
            f"{camera.name}: {summary.frames} frames in {summary.seconds:.1f} s are too few to measure",
            hint="measure a source that goes on: --source synthetic:pattern",
        )
    return summary


def _check_source(request: BenchRequest) -> None:
    """Open the source and close it again: nobody waits for cold starts, or for the main run, to learn what it lacks."""
    with contextlib.closing(Repeating(request.source, request.camera)) as camera:
        if request.camera_fps is not None and camera.live:
            raise UsageError(
                f"camera fps: {camera.name} is live, and has a rate of its own",
                hint="leave --camera-fps out, or measure a recording: --source file:clip.mp4",
            )


def model_facts(model: Path, spec: ModelSpec) -> ModelFacts:
    """Return what a report says of a ``.tflite`` file, which is the one that ``spec`` describes. Raises EdgeError."""
    tensor = spec.inputs[0]
    shape = "x".join(str(side) for side in tensor.shape)
    return ModelFacts(spec.name, sha256_of(model), model.stat().st_size, f"{shape} {tensor.dtype}")


def _engine_facts(predictor: Predictor) -> EngineFacts:
    engine = predictor.engine
    return EngineFacts(engine.name, engine.version, engine.threads, engine.delegate)


def _service(request: BenchRequest) -> ServiceSpec:
    """Return the application whose cold start is timed: the model and its source, and nothing around them."""
    camera = request.camera
    return changed(
        ServiceSpec(),
        source=request.source,
        engine=request.engine,
        threads=request.threads,
        delegate=request.delegate,
        workers=1,
        size=camera.size,
        fps=camera.fps,
        format=camera.format,
    )


def _profile(request: BenchRequest, measured: _Measured, engine: EngineFacts) -> Profiled:
    frame = measured.recorder.first_frame
    inputs = [] if frame is None else [measured.predictor.prepared(frame)]
    return profile_operators(request.model, engine, PROFILE_S, inputs)


def _thinned(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    if len(values) > _MAX_SAMPLES:
        values = values[np.linspace(0, len(values) - 1, _MAX_SAMPLES).astype(int)]
    return tuple(round(float(value), 4) for value in values)


def _warnings(before: MachineState, measured: _Measured) -> list[str]:
    found = []
    if not measured.recorder.warm_up.steady:
        found.append(
            f"latencies had not settled within {WARMUP_MOST_S:g} s: the medians of neighbouring half seconds still "
            f"differed by {STEADY_WITHIN:.0%} and more when measuring began"
        )
    if before.governor not in (None, "performance"):
        found.append(f"CPU governor is {before.governor}: the clock follows the load, and latencies vary with it")
    damaged = measured.summary.damaged
    if damaged:
        found.append(f"{damaged} frame{'s' if damaged > 1 else ''} could not be decoded, and had no prediction")
    frames = measured.recorder.frames
    missing = [name for name, needed in NEEDED_SAMPLES.items() if frames < needed]
    if missing:
        found.append(
            f"{frames} frames are too few for {' and '.join(missing)}; "
            f"measure longer: {missing[-1]} takes {NEEDED_SAMPLES[missing[-1]]} frames"
        )
    return found


def _rate_warnings(at_rate: AtRate | None) -> list[str]:
    if at_rate is None:
        return []
    # Of all frames that came, as many were predicted as came at ``fps``.
    offered = at_rate.fps * (at_rate.frames + at_rate.dropped) / at_rate.frames
    if offered >= _RATE_KEPT * at_rate.camera_fps:
        return []
    asked = at_rate.camera_fps
    return [f"the source gave {offered:.1f} frames per second, and not {asked:g} as its camera: reading it is too slow"]


def _profile_warnings(profiled: Profiled) -> list[str]:
    return [f"the operators were not profiled: {profiled.reason}"] if profiled.reason else []
