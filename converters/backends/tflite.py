"""TFLite files as sources: float ones to be quantised, quantised ones to be checked and described. No framework."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.backends.interface import Batch, ExportPlan, InputFacts, SourceFacts, SourceModel, SourceOptions
from converters.backends.tflite_edit import (
    close_shapes,
    fix_shapes,
    main_graph_only,
    modernise,
    needs_fixing,
    normalise_pixels,
    sign,
    state_outputs,
    widen_halves,
)
from converters.describe import output_facts, require_runnable, stated_use
from converters.tflite_reader import MAX_BYTES, TensorInfo, TfliteInfo, parse_tflite, read_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.engine.interface import Engine
from device_runtime.engine.litert import open_engine
from device_runtime.engine.values import real, stored
from device_runtime.errors import ModelError
from device_runtime.files import write_bytes

_INTEGERS = ("int8", "uint8", "int16", "int4", "int2", "uint4", "int32", "int64")


def open_source(path: Path, options: SourceOptions) -> SourceModel:
    """Read a TFLite model.

    Raises:
        ModelError: it is damaged, has operators that no engine runs, or weights that are not finite.
    """
    if path.exists() and path.stat().st_size > MAX_BYTES:
        raise ModelError(
            f"{path}: expected a TFLite file of less than 2 GB, got {path.stat().st_size / 1e9:.1f} GB",
            hint="make the model smaller, or split it into parts that are converted each on their own",
        )
    info = read_tflite(path)
    require_runnable(info, path)
    content = path.read_bytes()
    main_graph_only(unpack(content), options.signature, path)
    _check_weights(content, path)
    for tensor in info.inputs:
        if len(tensor.shape) < 2:
            raise ModelError(
                f"{path}: input {tensor.name} is {list(tensor.shape)}: expected the batch as its first axis, and more",
                hint="export the model again with inputs of shape [1, …]",
            )
    return TfliteSource(path, info, content)


class TfliteSource:
    """A TFLite model; see ``backends.interface.SourceModel``. Its answers are those of the preferred engine."""

    def __init__(self, path: Path, info: TfliteInfo, content: bytes) -> None:
        self._path = path
        self._info = info
        self._content = content
        self._engine: tuple[list[tuple[int, ...]], Engine] | None = None

    def facts(self) -> SourceFacts:
        """Return what the tensors tell, and what the file says of its use."""
        inputs = tuple(InputFacts(tensor.name, _open_shape(tensor), tensor.dtype) for tensor in self._info.inputs)
        outputs = tuple(output_facts(self._info, str(self._path)))
        tensors = [tensor for graph in self._info.subgraphs for tensor in graph.tensors]
        quantised = any(tensor.scales and tensor.dtype in _INTEGERS for tensor in tensors)
        remarks: tuple[str, ...] = ()
        if not quantised and widen_halves(self._unpacked()):
            remarks = ("weights stored as float16 are taken as the float32 numbers that they stand for",)
        stated = stated_use(self._path, self._info)
        return SourceFacts(inputs, outputs, None, {}, quantised, remarks, stated)

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return the outputs for a batch (n, …) of each input, one sample after the other."""
        engine = self._opened([(1, *np.shape(batch)[1:]) for batch in inputs])
        rows: list[list[Batch]] = []
        for row in range(len(inputs[0])):
            for index, (batch, tensor) in enumerate(zip(inputs, engine.inputs, strict=True)):
                engine.input_view(index)[...] = stored(np.asarray(batch[row : row + 1]), tensor)
            engine.invoke()
            rows.append([real(engine.output(index), tensor) for index, tensor in enumerate(engine.outputs)])
        return [np.concatenate([np.atleast_1d(part) for part in parts]) for parts in zip(*rows, strict=True)]

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write the model with fixed shapes, float32 weights and known names."""
        model = self._fixed(plan.shapes)
        widen_halves(model)
        state_outputs(model, [output.shape for output in output_facts(self._info, str(self._path))])
        if plan.mean:
            normalise_pixels(model, plan.mean, plan.std)
        sign(model)
        write_bytes(target, pack(model))

    def _fixed(self, shapes: Sequence[tuple[int, ...]]) -> Any:
        model = self._unpacked()
        if needs_fixing(model, shapes):
            fix_shapes(model, self._content, shapes, str(self._path))
        close_shapes(model)
        return model

    def _unpacked(self) -> Any:
        model = unpack(self._content)
        modernise(model)
        return model

    def _opened(self, shapes: list[tuple[int, ...]]) -> Engine:
        if self._engine is None or self._engine[0] != shapes:
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / self._path.name
                write_bytes(copy, pack(self._fixed(shapes)))
                self._engine = (shapes, open_engine(copy))
        return self._engine[1]


def _open_shape(tensor: TensorInfo) -> tuple[int | None, ...]:
    sides = [None if side < 0 else side for side in tensor.shape_signature]
    return (None, *sides[1:])


def _check_weights(content: bytes, path: Path) -> None:
    info, model = parse_tflite(content, str(path)), unpack(content)
    for known, graph in zip(info.subgraphs, model.subgraphs, strict=True):
        for facts, tensor in zip(known.tensors, graph.tensors, strict=True):
            if facts.dtype not in ("float32", "float16") or not facts.constant_bytes:
                continue
            values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), facts.dtype)
            if np.isnan(values).any():
                raise ModelError(
                    f"{path}: weights {facts.name} hold NaN",
                    hint="train the model again; a lower learning rate or clipped gradients help",
                )
