"""Times several loaded models against each other on the same machine at the same time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from device_runtime.bench.statistics import summarise
from device_runtime.contract.bench import LatencyStats
from device_runtime.engine.interface import Engine


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
