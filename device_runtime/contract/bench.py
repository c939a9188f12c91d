"""What a benchmark measured, and on what machine: the JSON of ``bench --json``, version 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

BENCH_SCHEMA = 2

CONFIDENCE = 0.95
"""Of each interval: a bootstrap over blocks of neighbouring samples, because latencies of neighbours are alike."""


@dataclass(frozen=True)
class Interval:
    """Where a figure lies with ``CONFIDENCE``, in the unit of the figure."""

    low: float
    high: float


@dataclass(frozen=True)
class LatencyStats:
    """A distribution of ``count`` latencies, in ms. A percentile that ``count`` cannot support is None.

    By LoadGen's rule (MLPerf Inference, query counts for 90% confidence), p90 needs 64 samples, p95 130 and p99 662.
    """

    count: int
    mean: float
    p50: float
    min: float
    max: float
    p90: Optional[float] = None
    p95: Optional[float] = None
    p99: Optional[float] = None
    p50_interval: Optional[Interval] = None
    p99_interval: Optional[Interval] = None


@dataclass(frozen=True)
class MachineState:
    """What the machine was, and how it was doing at one moment. None where the machine does not tell.

    ``throttled`` are the raw bits of ``vcgencmd get_throttled``; frequencies in MHz, temperatures in °C.
    ``emulated`` names the emulator whose machine this is: its wall times mean nothing.
    """

    cpu: str
    machine: str
    cores: int
    kernel: str
    python: str
    memory_bytes: Optional[int] = None
    board: Optional[str] = None
    governor: Optional[str] = None
    frequency_mhz: Optional[float] = None
    temperature_c: Optional[float] = None
    throttled: Optional[int] = None
    load_1min: Optional[float] = None
    emulated: Optional[str] = None


@dataclass(frozen=True)
class Moment:
    """What the machine did at one moment of the run, ``at_s`` after its beginning.

    ``frequency_mhz`` is the slowest core's. ``others`` is the share (0–1 of all cores) that other processes took since
    the moment before; ``waiting`` the share of the time in which somebody waited for memory (PSI ``some avg10``).
    """

    at_s: float
    frequency_mhz: Optional[float] = None
    temperature_c: Optional[float] = None
    throttled: Optional[int] = None
    others: Optional[float] = None
    waiting: Optional[float] = None


@dataclass(frozen=True)
class ModelFacts:
    """Which model was measured: its name, digest (64 hex digits) and size."""

    name: str
    sha256: str
    size_bytes: int
    input: str


@dataclass(frozen=True)
class EngineFacts:
    """What ran the model."""

    name: str
    version: str
    threads: int
    delegate: str


@dataclass(frozen=True)
class OperatorTime:
    """One step of the model as its engine ran it.

    ``index`` counts in the order in which they run; ``type`` is the operator's, as in ``CONV_2D``, or the delegate's
    own word for it; ``name`` is the tensor that it writes, where the engine tells. ``mean_ms`` is per inference,
    ``share`` (0–1) of all operators together.
    """

    index: int
    type: str
    name: str
    mean_ms: float
    share: float


@dataclass(frozen=True)
class OperatorProfile:
    """Where the time of ``invoke`` goes, from ``inferences`` of their own: what they cost more is in no other figure.

    ``covered`` is the operators' share of the profiled ``invoke``, ``overhead`` how much longer that took than without
    the profile (0.1: a tenth).
    """

    operators: tuple[OperatorTime, ...]
    inferences: int
    covered: float
    overhead: float

    @property
    def slowest(self) -> tuple[OperatorTime, ...]:
        """The operators by the time that they take, the slowest first."""
        return tuple(sorted(self.operators, key=lambda each: (-each.mean_ms, each.index)))


@dataclass(frozen=True)
class ColdStart:
    """From the start of a new process to its first prediction, in ms, once per process, in the order of the runs.

    The first one may have read files from the card that the others found in memory.
    """

    first_prediction_ms: tuple[float, ...]


@dataclass(frozen=True)
class AtRate:
    """What a camera of ``camera_fps`` gets: predictions per second, frames that came too fast, and how old they were.

    ``latency`` is of ``total``, from the moment when the camera had the frame.
    """

    camera_fps: float
    fps: float
    frames: int
    dropped: int
    latency: LatencyStats


@dataclass(frozen=True)
class BenchReport:
    """One benchmark run. ``stages`` has a LatencyStats for each of ``prediction.STAGES``, and ``draw`` when asked for.

    ``samples_ms`` are the single frames behind ``stages``, in order, for plots and comparisons; long runs are
    thinned evenly to at most 5,000 frames, the statistics are over all of them. ``fps`` is frames through the whole
    pipeline per second; ``first_inference_ms`` runs from the start of loading the model to the first prediction;
    ``peak_rss_bytes`` is of the whole process, ``model_rss_bytes`` what it grew by while the model was loaded and ran
    for the first time. ``harness_us`` is what measuring itself cost per frame. ``steady`` tells whether the warm-up
    ended because latencies had settled, and not because its time was over. ``disturbed`` says why the figures are no
    result: each reason is one of ``warnings``, too. ``beside`` is the application that ran at the same time.
    ``measured_from_s`` is when the first counted frame was finished, on the clock of ``during``.
    """

    created: str
    model: ModelFacts
    engine: EngineFacts
    source: str
    duration_s: float
    warmup_frames: int
    stages: dict[str, LatencyStats]
    samples_ms: dict[str, tuple[float, ...]]
    fps: float
    frames: int
    dropped: int
    load_ms: float
    first_inference_ms: float
    peak_rss_bytes: int
    before: MachineState
    after: MachineState
    warnings: tuple[str, ...] = ()
    release: Optional[str] = None
    steady: bool = True
    disturbed: tuple[str, ...] = ()
    model_rss_bytes: Optional[int] = None
    harness_us: Optional[float] = None
    during: tuple[Moment, ...] = ()
    measured_from_s: float = 0.0
    operators: Optional[OperatorProfile] = None
    cold_start: Optional[ColdStart] = None
    at_rate: Optional[AtRate] = None
    beside: Optional[str] = None
    target: Optional[str] = None
    schema: int = BENCH_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > BENCH_SCHEMA:
            raise ValueError(f"schema: this reader knows up to {BENCH_SCHEMA}, got {self.schema}; update edgekit")
