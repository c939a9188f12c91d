"""Runs a TFLite file on samples with the board's own code. Child process only: a bad file may crash it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter, open_array
from converters.errors import ConversionError
from converters.jobs import Outputs, RunModel
from device_runtime.contract.events import Events, Progress
from device_runtime.contract.model import Colour, ImagePrep, Resize
from device_runtime.engine.interface import Engine
from device_runtime.engine.litert import open_engine
from device_runtime.engine.values import real, stored
from device_runtime.errors import ModelError
from device_runtime.vision.frame import Frame, Tensor
from device_runtime.vision.prepare import Preparer


def run_model(job: RunModel, events: Events) -> Outputs:
    """Write a TFLite model's outputs, as real values, for the samples.

    Raises:
        ModelError: the model cannot be loaded, fails, or has other inputs than announced.
        ConversionError: it gives NaN.
    """
    samples = [open_array(Path(file)) for file in job.samples]
    count = min(len(samples[0]), job.limit or len(samples[0]))
    engine = open_engine(Path(job.model), job.engine)
    expected = [(1, *array.shape[1:]) for array in samples]
    if [tensor.shape for tensor in engine.inputs] != expected:
        got = ", ".join(str(list(tensor.shape)) for tensor in engine.inputs)
        wanted = ", ".join(str(list(shape)) for shape in expected)
        raise ModelError(f"expected inputs of shape {wanted} in the converted model, got {got}")
    write = _writer(engine, job.prep)
    files = tuple(Path(job.folder) / f"{Path(job.model).stem}-{index}.npy" for index in range(len(engine.outputs)))
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(ArrayWriter(file, tensor.shape[1:], np.float32))
            for file, tensor in zip(files, engine.outputs, strict=True)
        ]
        for index in range(count):
            write([np.asarray(array[index]) for array in samples])
            engine.invoke()
            for position, (writer, tensor) in enumerate(zip(writers, engine.outputs, strict=True)):
                values = real(engine.output(position), tensor)[0]
                if not np.isfinite(values).all():
                    raise ConversionError(f"output {tensor.name} of the converted model holds NaN or infinity")
                writer.append(values)
            events(Progress(index + 1, count, "samples"))
    return Outputs(tuple(str(file) for file in files), engine.inputs, engine.outputs, {engine.name: engine.version})


def _writer(engine: Engine, prep: ImagePrep | None) -> Callable[[list[Tensor]], None]:
    """Return what puts a sample into the engine's inputs: pictures as the board does it, tensors as their values."""
    if prep is None:
        return lambda values: _write_tensors(engine, values)
    # The samples were fitted to the model's size already: a centre of them must not be cut out again.
    preparer = Preparer(replace(prep, resize=Resize.STRETCH, crop_fraction=1.0), engine.inputs[0])

    def write_picture(values: list[Tensor]) -> None:
        pixels = values[0]
        flat = pixels[:, :, 0] if prep.colour is Colour.GRAY else pixels
        preparer.write(Frame(flat, prep.colour), engine.input_view())

    return write_picture


def _write_tensors(engine: Engine, values: list[Tensor]) -> None:
    for index, (value, tensor) in enumerate(zip(values, engine.inputs, strict=True)):
        engine.input_view(index)[...] = stored(value[None], tensor)
