"""Loads a model to see how an engine would run it. Child process only: a bad file may crash it."""

from __future__ import annotations

from pathlib import Path

from converters.jobs import CountPartitions
from converters.partitions import Partitions, partitions_of
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import Events
from device_runtime.engine.litert import open_engine


def answer_partitions(job: CountPartitions, events: Events) -> Partitions:
    """Do ``count_partitions`` as a job."""
    del events
    return count_partitions(Path(job.model), job.engine)


def count_partitions(model: Path, engine: str) -> Partitions:
    """Load a model, and return in how many pieces XNNPACK takes it on this machine.

    Args:
        model: the file; layers have names as long as it has not been shrunk.
        engine: ``litert`` or ``tflite-runtime``.

    Raises:
        ModelError: the engine cannot load it.
        UnfitError: the engine is not installed.
    """
    graph = read_tflite(model).main
    loaded = open_engine(model, engine)
    return partitions_of(loaded.nodes(), graph, loaded.name, loaded.version)
