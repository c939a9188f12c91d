"""The bench harness: the real loop, timed stage by stage. The same code measures on the host and on the board."""

from device_runtime.bench.recorder import WARMUP_FRAMES, WARMUP_S
from device_runtime.bench.run import BenchRequest, run_bench
from device_runtime.bench.statistics import SAMPLES_FOR_P90, SAMPLES_FOR_P95, SAMPLES_FOR_P99, summarise
from device_runtime.bench.turns import time_in_turns

__all__ = [
    "SAMPLES_FOR_P90",
    "SAMPLES_FOR_P95",
    "SAMPLES_FOR_P99",
    "WARMUP_FRAMES",
    "WARMUP_S",
    "BenchRequest",
    "run_bench",
    "summarise",
    "time_in_turns",
]
