"""Bench reports as harnesses on several machines would write them."""

import dataclasses
import math

import numpy as np

from device_runtime.bench.statistics import summarise
from device_runtime.contract.bench import (
    AtRate,
    BenchReport,
    ColdStart,
    EngineFacts,
    Interval,
    MachineState,
    ModelFacts,
    Moment,
    OperatorProfile,
    OperatorTime,
)
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


def profile(count=60) -> OperatorProfile:
    """Return a profile of a model of ``count`` operators, in which few take most of the time."""
    generator = np.random.default_rng(count)
    times = np.sort(generator.lognormal(-3, 1.3, count))[generator.permutation(count)]
    types = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "HARD_SWISH", "RESIZE_NEAREST_NEIGHBOR")
    operators = tuple(
        OperatorTime(
            index,
            types[index % 5 if index % 3 else 0],
            f"model_1/backbone/block_{index // 4}/expand_{index % 4}/FusedBatchNormV3;model_1/block_{index}/Conv2D",
            float(time),
            float(time / times.sum()),
        )
        for index, time in enumerate(times)
    )
    return OperatorProfile(operators, 50, 0.97, 0.021)


def throttled_moments(seconds=60.0, slow_from=35.0, slow_to=52.0) -> tuple[Moment, ...]:
    """Return what a board tells that gets too hot: its clock is capped from one second to another."""
    found = []
    for index in range(int(seconds * 2)):
        at = 0.5 * index
        slow = slow_from <= at <= slow_to
        heat = 56 + 27 * (1 - math.exp(-at / 22)) - (2 if at > slow_to else 0)
        bits = (0b0110 if slow else 0) | (0b0110 << 16 if at >= slow_from else 0)
        others = 0.02 + (0.2 if 12 <= at <= 14 else 0)
        found.append(Moment(at, 1000.0 if slow else 1800.0, heat, bits, others, 0.03 if slow else 0.0))
    return tuple(found)


def full_report(**changes) -> BenchReport:
    """Return a minute on a board that got too hot: with a long tail, and everything that a report may have."""
    generator = np.random.default_rng(7)
    means = {"capture": 3.1, "prepare": 0.82, "invoke": 14.2, "decode": 0.21, "draw": 1.4}
    at, slow = 0.0, []
    while at < 60:
        slow.append(1.75 if 35 <= at <= 52 else 1.0)
        at += (means["prepare"] + means["invoke"] + means["decode"]) / 1e3 * slow[-1]
    frames, moments = len(slow), throttled_moments()
    tail = np.where(generator.random(frames) < 0.02, generator.uniform(1.5, 4, frames), 1.0)
    noisy = {
        stage: mean * np.array(slow) * tail * generator.lognormal(0, 0.04, frames) for stage, mean in means.items()
    }
    noisy["total"] = sum(noisy[stage] for stage in ("capture", "prepare", "invoke", "decode")) + 0.2
    stats = {
        stage: dataclasses.replace(
            (found := summarise(values)),
            p95=float(np.percentile(values, 95)),
            p50_interval=Interval(found.p50 * 0.985, found.p50 * 1.012),
            p99_interval=Interval(found.p99 * 0.93, found.p99 * 1.11),
        )
        for stage, values in noisy.items()
    }
    reason = "the machine was slowed down: frequency capped, throttled"
    report = bench_report(
        frames,
        model=ModelFacts("yolo11n-belt", "3f" * 32, 2_912_000, "1x320x320x3 int8"),
        engine=EngineFacts("litert", "2.3.0", 4, "xnnpack"),
        source="file:belt.mp4",
        duration_s=60.0,
        stages=stats,
        samples_ms={stage: tuple(values.tolist()) for stage, values in noisy.items()},
        fps=frames / 60,
        peak_rss_bytes=148_300_000,
        model_rss_bytes=23_400_000,
        harness_us=6.3,
        during=moments,
        after=machine(throttled=0b0110 << 16, temperature_c=80.2),
        operators=profile(),
        cold_start=ColdStart((1840.0, 912.0, 905.0, 921.0, 899.0)),
        at_rate=AtRate(30.0, 29.9, 897, 3, dataclasses.replace(stats["total"], count=897)),
        target="pi4.local",
        release="belt-sorter 1.4.0",
        beside="belt-sorter 1.3.2",
        disturbed=(reason,),
        warnings=(reason, "CPU governor is ondemand: the clock follows the load, and latencies vary with it"),
    )
    return dataclasses.replace(report, **changes)
