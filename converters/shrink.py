"""Makes a ``.tflite`` file smaller without changing what it computes. Child process only.

It removes what no engine reads: names of inner tensors, values that nothing refers to, second copies, the ranges that
a converter kept beside scales. After it, layers have no names: whatever compares models layer by layer comes before.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from converters.tflite_writer import pack, unpack

_STALE = (b"TFLITE_METADATA", b"EDGEKIT_MODEL_SPEC", b"min_runtime_version", b"CONVERSION_METADATA", b"debug_metadata")
"""Metadata that speak of another file, or need what was appended to it; all others are kept, as some are read when a
model is loaded (``model_control_dependencies``, ``reduced_precision_support``)."""

_NO_TENSOR = -1


def shrink(content: bytes, *, keep_names: bool = False) -> bytes:
    """Return a smaller model that gives the same outputs, bit by bit.

    Inputs, outputs and signatures keep their names and their order. Metadata that describe the model go, and the label
    files behind it: ``converters.metadata_writer`` writes them last.

    Args:
        content: the model.
        keep_names: leave the names of inner tensors, for a file that others will be compared with.

    Raises:
        ConversionError: the model is too large to be rewritten.
    """
    model = unpack(content)
    model.metadata = [item for item in model.metadata or [] if item.name not in _STALE] or None
    for index, graph in enumerate(model.subgraphs):
        _drop_tensors(model, graph, index)
        if not keep_names:
            _drop_names(model, graph, index)
        for tensor in graph.tensors:
            _drop_notes(tensor)
    _share_buffers(model)
    _share_codes(model)
    return pack(model)


def _drop_tensors(model: Any, graph: Any, graph_index: int) -> None:
    """Remove tensors that nothing refers to; their values go with them."""
    maps = [item for signature in _signatures(model, graph_index) for item in _maps(signature)]
    used = {int(index) for index in (*_all(graph.inputs), *_all(graph.outputs))}
    used |= {item.tensorIndex for item in maps}
    for operator in graph.operators or []:
        for indices in (operator.inputs, operator.outputs, operator.intermediates):
            used |= {int(index) for index in _all(indices)}
    for index in sorted(used - {_NO_TENSOR}):
        used |= _quantised_by(graph.tensors[index])
    kept = sorted(used - {_NO_TENSOR})
    if len(kept) == len(graph.tensors):
        return
    new = {old: place for place, old in enumerate(kept)} | {_NO_TENSOR: _NO_TENSOR}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs, graph.outputs = _renumbered(graph.inputs, new), _renumbered(graph.outputs, new)
    for operator in graph.operators or []:
        operator.inputs = _renumbered(operator.inputs, new)
        operator.outputs = _renumbered(operator.outputs, new)
        operator.intermediates = _renumbered(operator.intermediates, new)
    for tensor in graph.tensors:
        _renumber_blocks(tensor, new)
    for item in maps:
        item.tensorIndex = new[item.tensorIndex]


def _quantised_by(tensor: Any) -> set[int]:
    """Return the tensors that hold a block-wise quantised tensor's scales and zero points."""
    details = tensor.quantization.details if tensor.quantization is not None else None
    found = {getattr(details, "scales", _NO_TENSOR), getattr(details, "zeroPoints", _NO_TENSOR)}
    return {index for index in found if isinstance(index, int)}


def _renumber_blocks(tensor: Any, new: dict[int, int]) -> None:
    if _quantised_by(tensor) - {_NO_TENSOR}:
        details = tensor.quantization.details
        details.scales, details.zeroPoints = new[details.scales], new[details.zeroPoints]


def _drop_names(model: Any, graph: Any, graph_index: int) -> None:
    public = {int(index) for index in (*_all(graph.inputs), *_all(graph.outputs))}
    public |= {item.tensorIndex for signature in _signatures(model, graph_index) for item in _maps(signature)}
    for index, tensor in enumerate(graph.tensors):
        if index not in public and not tensor.isVariable:
            tensor.name = None
    graph.debugMetadataIndex = -1
    for operator in graph.operators or []:
        operator.debugMetadataIndex = -1


def _drop_notes(tensor: Any) -> None:
    """Remove a converter's ranges, and a dynamic shape that is the shape."""
    found = tensor.quantization
    if found is not None:
        # Engines read scales, zero points and details; min and max are for importers of float graphs.
        found.min = found.max = None
        if found.details is None and not len(_all(found.scale)):
            tensor.quantization = None
    if tensor.shapeSignature is not None and np.array_equal(tensor.shapeSignature, _all(tensor.shape)):
        tensor.shapeSignature = None


def _share_buffers(model: Any) -> None:
    """Keep one of equal buffers, and those alone that something refers to."""
    # The first is no buffer: what refers to it has no values. One that is there but has no bytes is a constant without
    # elements (the shape of a scalar), and not the same.
    kept = list(model.buffers[:1])
    known: dict[Hashable, int] = {None: 0}
    new = {0: 0}

    def place(index: int) -> int:
        if index not in new:
            data = model.buffers[index].data
            key = None if data is None else bytes(data)
            if key not in known:
                known[key] = len(kept)
                kept.append(model.buffers[index])
            new[index] = known[key]
        return new[index]

    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        tensor.buffer = place(tensor.buffer)
    for item in model.metadata or []:
        item.buffer = place(item.buffer)
    named = {item.buffer for item in model.metadata or []}
    model.metadataBuffer = (
        sorted({new[index] for index in _all(model.metadataBuffer) if new.get(index) in named}) or None
    )
    model.buffers = kept


def _share_codes(model: Any) -> None:
    kept: list[Any] = []
    known: dict[Hashable, int] = {}
    for operator in (operator for graph in model.subgraphs for operator in graph.operators or []):
        code = model.operatorCodes[operator.opcodeIndex]
        key = (code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version)
        if key not in known:
            known[key] = len(kept)
            kept.append(code)
        operator.opcodeIndex = known[key]
    model.operatorCodes = kept


def _signatures(model: Any, graph_index: int) -> Iterator[Any]:
    return (signature for signature in model.signatureDefs or [] if signature.subgraphIndex == graph_index)


def _maps(signature: Any) -> list[Any]:
    return [*(signature.inputs or []), *(signature.outputs or [])]


def _all(values: Any) -> Any:
    """Return a list of the schema's objects, where an absent one is None."""
    return () if values is None else values


def _renumbered(indices: Any, new: dict[int, int]) -> Any:
    return None if indices is None else np.array([new[int(index)] for index in indices], np.int32)
