"""Writes ``probe.tflite``, the tiny model that proves an engine: ``python edgekit/doctor/make_probe.py``.

One float and one int8 matrix product over the same four numbers, small enough to be checked by hand: the input
(1, 2, 3, 4) gives 10.5 and -2 in float, and 80 and 16 in int8 (10 and 2, in steps of 1/8).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

PROBE = Path(__file__).with_name("probe.tflite")

_FLOAT_WEIGHTS = [[1, 1, 1, 1], [1, -1, 1, -1]]
_INT8_WEIGHTS = [[1, 1, 1, 1], [-1, 1, -1, 1]]
_IN_STEP, _OUT_STEP = 0.0625, 0.125


class _Model:
    """A graph under construction: tensors, their constant data, and operators."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]  # buffer 0 stands for "no data"
        self.codes: list[Any] = []
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: list[int], dtype: str, step: float = 0.0, data: Any = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name.encode(), np.array(shape, np.int32), 0
        made.type = getattr(schema.TensorType, dtype.upper())
        if step:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.array([step], np.float32)
            made.quantization.zeroPoint = np.array([0], np.int64)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.array(data, dtype).tobytes(), np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, name: str, version: int, inputs: list[int], output: int, options: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = version
        self.codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = len(self.codes) - 1
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        made.builtinOptions = options
        self.operators.append(made)

    def pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        model = schema.ModelT()
        model.version = 3
        model.operatorCodes, model.subgraphs, model.buffers = self.codes, [graph], self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def probe_model() -> bytes:
    """Return the model's bytes; the same ones each time."""
    model = _Model()
    numbers = model.tensor("numbers", [1, 4], "float32")
    product = model.tensor("product", [1, 2], "float32")
    weights = model.tensor("weights", [2, 4], "float32", data=_FLOAT_WEIGHTS)
    bias = model.tensor("bias", [2], "float32", data=[0.5, 0])
    model.operator("FULLY_CONNECTED", 1, [numbers, weights, bias], product, schema.FullyConnectedOptionsT())
    steps = model.tensor("steps", [1, 4], "int8", _IN_STEP)
    model.operator("QUANTIZE", 1, [numbers], steps, schema.QuantizeOptionsT())
    product8 = model.tensor("product8", [1, 2], "int8", _OUT_STEP)
    weights8 = model.tensor("weights8", [2, 4], "int8", 1.0, data=_INT8_WEIGHTS)
    bias8 = model.tensor("bias8", [2], "int32", _IN_STEP, data=[0, 0])
    model.operator("FULLY_CONNECTED", 4, [steps, weights8, bias8], product8, schema.FullyConnectedOptionsT())
    return model.pack([numbers], [product, product8])


if __name__ == "__main__":
    PROBE.write_bytes(probe_model())
