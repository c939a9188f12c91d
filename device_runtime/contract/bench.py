"""What a benchmark measured, and on what machine: the JSON of ``bench --json``, version 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

BENCH_SCHEMA = 1


@dataclass(frozen=True)
class LatencyStats:
    """A distribution of ``count`` latencies, in ms. A percentile that ``count`` cannot support is None.

    By LoadGen's rule (MLPerf Inference, query counts for 90% confidence), p90 needs 64 samples and p99 needs 662.
    """

    count: int
    mean: float
    p50: float
    min: float
    max: float
    p90: Optional[float] = None
    p99: Optional[float] = None


@dataclass(frozen=True)
class MachineState:
    """What the machine was, and how it was doing. None where the machine does not tell.

    ``throttled`` are the raw bits of ``vcgencmd get_throttled``; frequencies in MHz, temperatures in °C.
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
class BenchReport:
    """One benchmark run. ``stages`` has a LatencyStats for each of ``prediction.STAGES``.

    ``samples_ms`` are the single frames behind ``stages``, in order, for plots and comparisons; long runs are
    thinned evenly to at most 5,000 frames, the statistics are over all of them. ``fps`` is frames through the whole
    pipeline per second; ``first_inference_ms`` runs from the start of loading the model to the first prediction;
    ``peak_rss_bytes`` is of the whole process.
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
    schema: int = BENCH_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > BENCH_SCHEMA:
            raise ValueError(f"schema: this reader knows up to {BENCH_SCHEMA}, got {self.schema}; update edgekit")
