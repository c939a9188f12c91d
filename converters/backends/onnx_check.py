"""What is refused of a loaded ONNX model, with names, and what is mended: other floats than float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, defs, numpy_helper

from converters.errors import spoilt_weights
from device_runtime.errors import ModelError

_STANDARD = ("", "ai.onnx")
_WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LSTM", "GRU", "RNN")
_OTHER_FLOATS = {TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64", TensorProto.BFLOAT16: "bfloat16"}
_NAMED = 5


def require_known(model: Any, path: Path) -> None:
    """Refuse operator sets and operators that this ONNX does not know.

    Raises:
        ModelError: with their names.
    """
    newest = defs.onnx_opset_version()
    version = max((item.version for item in model.opset_import if item.domain in _STANDARD), default=0)
    if not 0 < version <= newest:
        raise ModelError(
            f"{path}: expected an operator set from 1 to {newest}, got {version or 'none'}",
            hint=f"export it for an older one: torch.onnx.export(…, opset_version={min(newest, 18)})",
        )
    functions = {(function.domain, function.name) for function in model.functions}
    unknown = []
    for node in nodes_of(model.graph):
        if (node.domain, node.op_type) in functions:
            continue
        if node.domain not in _STANDARD or not defs.has(node.op_type, version):
            unknown.append(f"{node.domain}::{node.op_type}" if node.domain not in _STANDARD else node.op_type)
    if unknown:
        names = list(dict.fromkeys(unknown))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise ModelError(
            f"{path}: operators that ONNX's set {version} does not have: {', '.join(names[:_NAMED])}{more}",
            hint="export the model with ONNX's own operators only, and compute the rest after the model",
        )


def require_finite(model: Any, path: Path) -> None:
    """Refuse weights that hold NaN, or infinity where they are multiplied with. Raises ModelError naming the first."""
    weighed = {name for node in nodes_of(model.graph) if node.op_type in _WEIGHED for name in node.input[1:]}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind != "f":
            continue
        # A mask of attention adds minus infinity on purpose.
        if np.isnan(values).any() or (tensor.name in weighed and not np.isfinite(values).all()):
            raise spoilt_weights(path, tensor.name)


def in_float32(model: Any) -> str:
    """Change all other floats of a model to float32, in place; return which there were, or nothing."""
    found: set[int] = set()
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            _as_float32(tensor, found)
        for info in (*graph.input, *graph.output, *graph.value_info):
            kind = info.type.tensor_type
            if kind.elem_type in _OTHER_FLOATS:
                found.add(kind.elem_type)
                kind.elem_type = TensorProto.FLOAT
    for node in nodes_of(model.graph):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _as_float32(attribute.t, found)
            elif attribute.name in ("to", "dtype") and attribute.i in _OTHER_FLOATS:
                found.add(attribute.i)
                attribute.i = TensorProto.FLOAT
    return ", ".join(sorted(_OTHER_FLOATS[kind] for kind in found))


def nodes_of(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, and of those within it."""
    for inner in _graphs(graph):
        yield from inner.node


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _as_float32(tensor: Any, found: set[int]) -> None:
    if tensor.data_type in _OTHER_FLOATS:
        found.add(tensor.data_type)
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
