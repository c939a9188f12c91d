"""Makes fully connected layers of products with constant matrices. Child process only.

onnx2tf writes ONNX's MatMul as BATCH_MATMUL. Quantised to int8 with a constant matrix, LiteRT 2.3 answers nothing but
zeros for it; FULLY_CONNECTED is the operator for it, has a scale per channel, and every runtime runs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.backends.channels_last import add_constant, constant_values
from converters.tflite_writer import code_index, kind_of

_PLAIN, _KEEPS_RANK = 1, 5
"""Versions of FULLY_CONNECTED in float32: with ``keep_num_dims`` it is 5 (TensorFlow, op_version.cc)."""


def make_fully_connected(model: Any) -> int:
    """Rewrite a float model (``ModelT``) in place; return how many products were replaced."""
    graph = model.subgraphs[0]
    replaced = 0
    for op in graph.operators:
        if kind_of(model, op) != schema.BuiltinOperator.BATCH_MATMUL or op.builtinOptions.adjX:
            continue
        matrix = constant_values(model, op.inputs[1])
        rank = len(graph.tensors[op.inputs[0]].shape)
        if matrix is None or matrix.ndim != 2 or matrix.dtype != np.float32 or rank < 2:
            continue
        weights = matrix if op.builtinOptions.adjY else matrix.T  # (outputs, inputs)
        zeros = np.zeros(len(weights), np.float32)
        like = op.inputs[1]
        op.inputs = [op.inputs[0], add_constant(model, weights, like), add_constant(model, zeros, like)]
        op.opcodeIndex = code_index(model, schema.BuiltinOperator.FULLY_CONNECTED, _PLAIN if rank == 2 else _KEEPS_RANK)
        op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        op.builtinOptions = schema.FullyConnectedOptionsT()
        op.builtinOptions.keepNumDims = rank > 2
        replaced += 1
    return replaced
