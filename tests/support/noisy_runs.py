"""Benchmark runs with the noise that real ones have: neighbours alike, a tail, and a level that differs per process."""

import numpy as np

from device_runtime.contract.bench import LatencyStats
from tests.support.bench_reports import bench_report

_TOTAL_PER_INVOKE = 1.3


def noisy_report(seed, *, slower=1.0, frames=700, correlation=0.7, spread=0.04, level=0.005, **changes):
    """Return a run of a model that takes 10 ms, times ``slower``.

    Args:
        seed: of its chances; each run needs another one.
        slower: an injected slow-down: 1.1 is 10%.
        frames: how many were measured.
        correlation: between neighbouring frames: AR(1).
        spread: the standard deviation of the logarithm of latencies.
        level: that of the whole process, which no statistics of one run can see.
        changes: of other fields of the report.
    """
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, spread * np.sqrt(1 - correlation**2), frames)
    noise[0] = generator.normal(0, spread)
    for index in range(1, frames):
        noise[index] += correlation * noise[index - 1]
    tail = np.where(generator.random(frames) < 0.02, generator.uniform(1.2, 3, frames), 1.0)
    invoke = 10 * slower * np.exp(noise + generator.normal(0, level)) * tail
    samples = {"invoke": invoke, "total": invoke * _TOTAL_PER_INVOKE}
    return bench_report(
        frames,
        stages={stage: _plain(values) for stage, values in samples.items()},
        samples_ms={stage: tuple(values.tolist()) for stage, values in samples.items()},
        **changes,
    )


def _plain(values) -> LatencyStats:
    """Return what there are enough samples for, but for intervals: a comparison makes its own."""
    p50, p99 = np.percentile(values, (50, 99)).tolist()
    low, high = float(values.min()), float(values.max())
    return LatencyStats(len(values), float(values.mean()), p50, low, high, p99=p99 if len(values) >= 662 else None)
