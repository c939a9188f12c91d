"""Bench reports as harnesses on several machines would write them."""

import dataclasses
import math

from device_runtime.bench import summarise
from device_runtime.contract.bench import BenchReport, EngineFacts, MachineState, ModelFacts
from device_runtime.contract.prediction import STAGES

QUIET = MachineState(
    cpu="Cortex-A72",
    machine="aarch64",
    cores=4,
    kernel="6.6.31",
    python="3.11.2",
    memory_bytes=4_000_000_000,
    board="Raspberry Pi 4 Model B Rev 1.4",
    governor="performance",
    frequency_mhz=1800.0,
    temperature_c=51.5,
    throttled=0,
    load_1min=0.1,
)
"""A machine that tells everything, and all is well."""

LONG_AGO = 1 << 16
NOW = 1 << 0
"""Bits of under-voltage: at some time since boot, and at the moment of reading."""


def machine(**changes) -> MachineState:
    """Return the quiet machine with these differences."""
    return dataclasses.replace(QUIET, **changes)


def bench_report(frames=1000, **changes) -> BenchReport:
    """Return a run of ``frames`` on the quiet machine, with these differences."""
    wave = [1 + 0.3 * math.sin(index / 7) for index in range(frames)]
    shares = {"capture": 2.0, "prepare": 0.5, "invoke": 10.0, "decode": 0.1, "total": 11.0}
    samples = {stage: tuple(shares[stage] * value for value in wave) for stage in STAGES}
    report = BenchReport(
        created="2026-03-01T09:30:00+00:00",
        model=ModelFacts("belt", "ab" * 32, 412_000, "1x160x160x3 uint8"),
        engine=EngineFacts("litert", "2.3.0", 2, "xnnpack"),
        source="synthetic:belt",
        duration_s=frames / 80,
        warmup_frames=85,
        stages={stage: summarise(values) for stage, values in samples.items()},
        samples_ms=samples,
        fps=80.4,
        frames=frames,
        dropped=3,
        load_ms=12.3,
        first_inference_ms=45.6,
        peak_rss_bytes=98_700_000,
        before=QUIET,
        after=QUIET,
    )
    return dataclasses.replace(report, **changes)
