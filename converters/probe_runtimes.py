"""Asks the installed engines which operators they have; ``python -m converters.probe_runtimes [FILE]`` writes it down.

An engine refuses a model whose operator it does not have in the version that the model states, before it looks at
anything else; one operator at a time tells all. Both engines have to be installed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from converters.builtin_operators import BUILTIN_OPERATORS, CUSTOM
from converters.runtimes import TABLE, Runtime
from converters.tflite_reader import MAGIC
from device_runtime.contract.decode import dumps
from device_runtime.engine.litert import ENGINES

_HIGHEST_VERSION = 30
_REFUSALS = ("Didn't find op", "builtin_code out of range")
_PLACEHOLDERS = ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES")
_CUSTOM_OPERATORS = (
    "AudioSpectrogram",
    "Mfcc",
    "NumericVerify",
    "TFLite_Detection_PostProcess",
    "aeq.hadamard_rotation",
)
"""Those of tensorflow/lite/core/kernels/register.cc and of LiteRT's tflite/core/kernels/register.cc."""


def main(arguments: list[str]) -> None:
    """Write what each engine answers, into a file or the table itself."""
    found = {name: _runtime(name) for name in ENGINES}
    target = Path(arguments[0]) if arguments else TABLE
    target.write_text(dumps(found), encoding="utf-8")


def _runtime(name: str) -> Runtime:
    module, distribution = ENGINES[name]
    interpreter = importlib.import_module(f"{module}.interpreter").Interpreter
    builtin = {}
    for code, operator in enumerate(BUILTIN_OPERATORS):
        if operator in _PLACEHOLDERS:
            continue
        versions = [v for v in range(1, _HIGHEST_VERSION + 1) if _has(interpreter, _model(code, v))]
        if versions:
            builtin[operator] = max(versions)
    custom = tuple(each for each in _CUSTOM_OPERATORS if _has_custom(interpreter, _model(CUSTOM, 1, each)))
    return Runtime(importlib.metadata.version(distribution), builtin, custom)


def _has(interpreter: Any, model: bytes) -> bool:
    """Tell whether an engine knows the operator of a model; that the model makes no sense otherwise is no matter."""
    try:
        interpreter(model_content=model)
    except (RuntimeError, ValueError) as error:
        return not any(refusal in str(error) for refusal in _REFUSALS)
    return True


def _has_custom(interpreter: Any, model: bytes) -> bool:
    """Tell it of a custom operator: a process of its own meets it, as a known one may crash without its options."""
    child = os.fork()
    if child == 0:
        try:
            interpreter(model_content=model).allocate_tensors()
        except (RuntimeError, ValueError) as error:
            os._exit(int("unresolved custom op" in str(error)))
        os._exit(0)
    return os.waitpid(child, 0)[1] != 1 << 8


def _model(code: int, version: int, custom: str = "") -> bytes:
    model, graph, operator, known = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    known.builtinCode, known.deprecatedBuiltinCode, known.version = code, min(code, 127), version
    known.customCode = custom.encode() if custom else None
    operator.inputs, operator.outputs = [0], [1]
    tensors = [schema.TensorT(), schema.TensorT()]
    for tensor in tensors:
        tensor.shape = [1]
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], [1], [operator]
    model.version, model.buffers, model.operatorCodes, model.subgraphs = 3, [schema.BufferT()], [known], [graph]
    builder = flatbuffers.Builder(512)
    builder.Finish(model.Pack(builder), MAGIC)
    return bytes(builder.Output())


if __name__ == "__main__":
    main(sys.argv[1:])
