"""Runs a TFLite file on prepared pictures with the board's own code. Child process only: a bad file may crash it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter, open_array
from converters.errors import ConversionError
from converters.jobs import Outputs, RunModel
from device_runtime.contract.events import Events, Progress
from device_runtime.contract.model import Colour
from device_runtime.engine.litert import open_engine
from device_runtime.errors import ModelError
from device_runtime.tasks.interface import real
from device_runtime.vision.frame import Frame
from device_runtime.vision.prepare import Preparer


def run_model(job: RunModel, events: Events) -> Outputs:
    """Write a TFLite model's outputs, as real values, for the samples.

    Raises:
        ModelError: the model cannot be loaded, fails, or has another input than announced.
        ConversionError: it gives NaN.
    """
    samples = open_array(Path(job.samples))
    count = min(len(samples), job.limit) if job.limit else len(samples)
    engine = open_engine(Path(job.model), job.engine)
    expected = (1, job.prep.height, job.prep.width, job.prep.channels)
    if len(engine.inputs) != 1 or engine.inputs[0].shape != expected:
        got = ", ".join(str(list(tensor.shape)) for tensor in engine.inputs)
        raise ModelError(f"expected one input of shape {list(expected)} in the converted model, got {got}")
    preparer = Preparer(job.prep, engine.inputs[0])
    files = tuple(Path(job.folder) / f"{Path(job.model).stem}-{index}.npy" for index in range(len(engine.outputs)))
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(ArrayWriter(file, tensor.shape[1:], np.float32))
            for file, tensor in zip(files, engine.outputs, strict=True)
        ]
        for index in range(count):
            pixels = np.asarray(samples[index])
            flat = pixels[:, :, 0] if job.prep.colour is Colour.GRAY else pixels
            preparer.write(Frame(flat, job.prep.colour), engine.input_view())
            engine.invoke()
            for position, (writer, tensor) in enumerate(zip(writers, engine.outputs, strict=True)):
                values = real(engine.output(position), tensor)[0]
                if not np.isfinite(values).all():
                    raise ConversionError(f"output {tensor.name} of the converted model holds NaN or infinity")
                writer.append(values)
            events(Progress(index + 1, count, "pictures"))
    return Outputs(tuple(str(file) for file in files), engine.inputs, engine.outputs, {engine.name: engine.version})
