"""What is done to a ``.tflite`` file before it is a source: fixed shapes, float32 weights, known names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from converters.tflite_writer import code_index, kind_of
from device_runtime.errors import ModelError

_NO_BUFFER = 0


def needs_fixing(model: Any, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the inputs of a model are open, or have other shapes than ``shapes``."""
    graph = model.subgraphs[0]
    tensors = [graph.tensors[index] for index in graph.inputs]
    stated = [tuple(int(side) for side in _sides(tensor.shape)) for tensor in tensors]
    return stated != list(shapes)


def fix_shapes(model: Any, content: bytes, shapes: Sequence[tuple[int, ...]], where: str) -> None:
    """Give every tensor of the main graph the shape that it has for inputs of ``shapes``, as the engine works it out.

    Args:
        model: the unpacked model, which is changed.
        content: the same as a file.
        shapes: one per input.
        where: the file, for messages.

    Raises:
        ModelError: the graph does not work with these shapes.
    """
    graph = model.subgraphs[0]
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        engine = litert.Interpreter(model_content=content, experimental_op_resolver_type=plain)
        for index, shape in zip(graph.inputs, shapes, strict=True):
            engine.resize_tensor_input(int(index), shape)
        engine.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        wanted = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(
            f"{where}: its graph does not work with inputs of shape {wanted}: {str(error).splitlines()[0]}",
            hint="choose another size with --input-size HEIGHTxWIDTH or --input-shape 1x…, or export the model again "
            "with batch 1",
        ) from error
    known = {int(detail["index"]): detail["shape"] for detail in engine.get_tensor_details()}
    for index, tensor in enumerate(graph.tensors):
        if index in known and _sides(tensor.shape):
            tensor.shape = [int(side) for side in known[index]]


def close_shapes(model: Any) -> None:
    """Take out that a size may change: what the shapes say is what they are."""
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None


def widen_halves(model: Any) -> int:
    """Turn weights that are stored as float16, and made float32 when the model runs, into float32; return how many.

    No value changes: every float16 is a float32.
    """
    count = 0
    for graph in model.subgraphs:
        kept = []
        widened: dict[int, int] = {}
        for operator in graph.operators or []:
            stored = graph.tensors[operator.inputs[0]] if len(operator.inputs) else None
            if not (
                kind_of(model, operator) == schema.BuiltinOperator.DEQUANTIZE
                and stored is not None
                and _is_half(model, stored)
            ):
                kept.append(operator)
                continue
            values = np.frombuffer(bytes(model.buffers[stored.buffer].data), np.float16)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            if stored.buffer not in widened:
                model.buffers.append(buffer)
                widened[stored.buffer] = len(model.buffers) - 1
            graph.tensors[operator.outputs[0]].buffer = widened[stored.buffer]
            count += 1
        graph.operators = kept
    return count


def state_outputs(model: Any, shapes: Sequence[tuple[int, ...]]) -> None:
    """State the shapes of outputs that have none in the file: detection post-processing sets its own when it runs."""
    graph = model.subgraphs[0]
    for index, shape in zip(graph.outputs, shapes, strict=True):
        if not _sides(graph.tensors[index].shape):
            graph.tensors[index].shape = list(shape)


def modernise(model: Any) -> None:
    """State operators where newer readers look for them: older files have their numbers in a byte only.

    litert-quantizer takes every operator of such a file for an ADD, and quantises its weights as activations.
    """
    for code in model.operatorCodes:
        code.builtinCode = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def sign(model: Any) -> None:
    """Give the main graph a signature, by position: ``input_0`` …, ``output_0`` …; the file's own ones go."""
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    signature.inputs = [_named(f"input_{place}", index) for place, index in enumerate(graph.inputs)]
    signature.outputs = [_named(f"output_{place}", index) for place, index in enumerate(graph.outputs)]
    model.signatureDefs = [signature]


def normalise_pixels(model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
    """Put ``(pixel - mean) / std`` in front, as a depthwise 1 x 1 convolution, which quantises without loss.

    Args:
        model: an unpacked model with one image input, (1, height, width, channels) float32; it is changed.
        mean: in pixel units, one for all channels or one for each.
        std: the same.
    """
    graph = model.subgraphs[0]
    inner = graph.inputs[0]
    shape = [int(side) for side in graph.tensors[inner].shape]
    means, stds = (np.broadcast_to(np.array(values, np.float32), (shape[3],)) for values in (mean, std))
    pixels = _add_tensor(model, b"pixels", shape)
    weights = _add_tensor(model, b"normalise_pixels/weights", [1, 1, 1, shape[3]], 1 / stds)
    bias = _add_tensor(model, b"normalise_pixels/bias", [shape[3]], -means / stds)
    options = schema.DepthwiseConv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideW = options.strideH = options.depthMultiplier = 1
    options.dilationWFactor = options.dilationHFactor = 1
    operator = schema.OperatorT()
    operator.opcodeIndex = code_index(model, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    operator.inputs, operator.outputs = [pixels, weights, bias], [inner]
    operator.builtinOptionsType = schema.BuiltinOptions.DepthwiseConv2DOptions
    operator.builtinOptions = options
    graph.operators.insert(0, operator)
    graph.inputs = [pixels]


def main_graph_only(model: Any, wanted: str | None, path: Path) -> None:
    """Refuse a signature of another graph than the main one, and one that is not there.

    Raises:
        ModelError: it is of another graph, or not there.
    """
    if wanted is None:
        return
    known = {item.signatureKey.decode(): item for item in model.signatureDefs or []}
    if wanted not in known:
        raise ModelError(
            f"{path}: it has no signature {wanted!r}",
            hint=f"it has: {', '.join(known) or 'none; leave the option out'}",
        )
    if known[wanted].subgraphIndex != 0:
        raise ModelError(
            f"{path}: signature {wanted} belongs to graph {known[wanted].subgraphIndex}, and boards run the first one",
            hint="convert the model that the file was made from, with this signature",
        )


def _add_tensor(model: Any, name: bytes, shape: list[int], values: Any = None) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, schema.TensorType.FLOAT32, _NO_BUFFER
    if values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.asarray(values, np.float32).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    graph = model.subgraphs[0]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), int(index)
    return entry


def _is_half(model: Any, tensor: Any) -> bool:
    return tensor.type == schema.TensorType.FLOAT16 and model.buffers[tensor.buffer].data is not None


def _sides(shape: Any) -> list[int]:
    return [] if shape is None else list(shape)
