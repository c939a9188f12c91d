"""Runs the trained model itself on prepared pictures: what the converted file is compared with. Child process only."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter, open_array
from converters.backends.interface import SourceModel
from converters.errors import ConversionError
from converters.jobs import Outputs, RunSource
from device_runtime.contract.events import Events, Progress
from device_runtime.errors import ModelError
from device_runtime.vision.normalise import normalise

_BATCH = 8
_BATCH_VALUES = 200_000
"""Input values in a batch: frameworks keep what they compute, and a batch of eight of MobileNetV2's 224 px took 600 MB
more than one picture, at the same speed."""


def run_source(model: SourceModel, job: RunSource, events: Events) -> Outputs:
    """Write the trained model's outputs for all samples.

    Raises:
        ModelError: they are not finite.
        ConversionError: they have other shapes than the model announced.
    """
    samples = [open_array(Path(file)) for file in job.samples]
    count = len(samples[0])
    size = max(1, min(_BATCH, _BATCH_VALUES // max(1, samples[0][0].size)))
    announced = model.facts().outputs
    files = tuple(Path(job.folder) / f"source-{index}.npy" for index in range(len(announced)))
    with contextlib.ExitStack() as stack:
        writers: list[ArrayWriter] = []
        for start in range(0, count, size):
            batches = [np.asarray(array[start : start + size]) for array in samples]
            outputs = model.run(batches if job.prep is None else [normalise(batches[0], job.prep)])
            if len(outputs) != len(announced):
                raise ConversionError(f"expected {len(announced)} outputs of the trained model, got {len(outputs)}")
            if not writers:
                shapes = [np.shape(output)[1:] for output in outputs]
                writers = [
                    stack.enter_context(ArrayWriter(file, shape, np.float32))
                    for file, shape in zip(files, shapes, strict=True)
                ]
            for writer, output, facts in zip(writers, outputs, announced, strict=True):
                if not np.isfinite(output).all():
                    raise ModelError(
                        f"output {facts.name} of the trained model holds NaN or infinity",
                        hint="train it again, or find the weights that are not finite",
                    )
                for row in output:
                    writer.append(np.asarray(row, np.float32))
            events(Progress(min(start + size, count), count, "samples"))
    return Outputs(tuple(str(file) for file in files))
