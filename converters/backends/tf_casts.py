"""Takes the detour by bytes out of a float TFLite model whose source takes uint8 pictures. Child process only."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from converters.tflite_writer import kind_of, pack, unpack


def without_casts(content: bytes) -> bytes:
    """Return a model in which what was cast from float32 to uint8 and back is read as it was.

    That is the same for whole numbers of 0–255, which is what pixels are. Nothing else is changed.
    """
    model = unpack(content)
    changed = [_shortened(model, graph) for graph in model.subgraphs]
    return pack(model) if any(changed) else content


def _shortened(model: Any, graph: Any) -> bool:
    """Let the readers of ``uint8 -> float32`` casts read the float input itself; drop casts that nobody reads."""
    casts = [item for item in graph.operators if kind_of(model, item) == schema.BuiltinOperator.CAST]
    to_bytes = {
        item.outputs[0]: item.inputs[0]
        for item in casts
        if item.inputs[0] in graph.inputs
        and _types(graph, item) == (schema.TensorType.FLOAT32, schema.TensorType.UINT8)
    }
    back = {
        item.outputs[0]: to_bytes[item.inputs[0]]
        for item in casts
        if item.inputs[0] in to_bytes and graph.tensors[item.outputs[0]].type == schema.TensorType.FLOAT32
    }
    back = {tensor: origin for tensor, origin in back.items() if tensor not in graph.outputs}
    for item in graph.operators:
        item.inputs = [back.get(index, index) for index in item.inputs]
    for unread in (back, to_bytes):
        read = {index for item in graph.operators for index in item.inputs} | set(graph.outputs)
        graph.operators = [item for item in graph.operators if item.outputs[0] not in unread.keys() - read]
    return bool(back)


def _types(graph: Any, operator: Any) -> tuple[int, int]:
    return graph.tensors[operator.inputs[0]].type, graph.tensors[operator.outputs[0]].type
