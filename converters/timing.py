"""Times models on one engine, in turns. Child process only: an engine is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from converters.jobs import TimeModels, Timings
from device_runtime.bench.turns import time_in_turns
from device_runtime.contract.events import Events
from device_runtime.engine.litert import open_engine


def time_models(job: TimeModels, events: Events) -> Timings:
    """Return the median invocation of each model.

    Raises:
        ModelError: a model cannot be loaded, or fails.
    """
    del events
    engines = [open_engine(Path(model), job.engine, job.threads) for model in job.models]
    for engine in engines:
        for index, tensor in enumerate(engine.inputs):
            # Values of all kinds: a model of zeros may be faster than any picture.
            engine.input_view(index)[...] = np.resize(np.arange(97), tensor.shape).astype(tensor.dtype)
    return Timings(tuple(stats.p50 for stats in time_in_turns(engines)))
