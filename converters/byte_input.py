"""Lets the quantised input of an image model take camera bytes as they are. Child process only."""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from converters.errors import ConversionError
from converters.jobs import InputEncoding
from converters.tflite_writer import code_index, kind_of

_INT8_OFFSET = 128


def take_bytes(model: Any, encoding: InputEncoding) -> None:
    """Give a model whose input is int8 one of uint8, with the zero point 128 higher.

    A QUANTIZE in front goes over to int8, which is an XOR with 0x80. Where the first layers stay float, the int8 values
    would only be made to become floats again: DEQUANTIZE takes uint8 as well.

    Args:
        model: what ``tflite_writer.unpack`` gave; it is changed.
        encoding: what a byte means; the int8 input has been given the same meaning.

    Raises:
        ConversionError: the input has not been quantised, or otherwise.
    """
    graph = model.subgraphs[0]
    inner_index = graph.inputs[0]
    inner = graph.tensors[inner_index]
    _check(inner, encoding)
    inner.quantization.scale = [encoding.scale]
    readers = [operator for operator in graph.operators if inner_index in operator.inputs]
    if inner_index not in graph.outputs and all(
        kind_of(model, reader) == schema.BuiltinOperator.DEQUANTIZE for reader in readers
    ):
        inner.type, inner.quantization.zeroPoint = schema.TensorType.UINT8, [encoding.zero_point]
        return
    outer = schema.TensorT()
    outer.name, outer.shape, outer.type, outer.buffer = inner.name, inner.shape, schema.TensorType.UINT8, 0
    outer.shapeSignature = inner.shapeSignature
    outer.quantization = schema.QuantizationParametersT()
    outer.quantization.scale, outer.quantization.zeroPoint = [encoding.scale], [encoding.zero_point]
    inner.name = (inner.name or b"input") + b"_int8"
    graph.tensors.append(outer)
    outer_index = len(graph.tensors) - 1
    graph.operators.insert(0, _quantize(model, outer_index, inner_index))
    graph.inputs = [outer_index]
    for signature in model.signatureDefs or []:
        for tensor in signature.inputs:
            if tensor.tensorIndex == inner_index:
                tensor.tensorIndex = outer_index


def _check(inner: Any, encoding: InputEncoding) -> None:
    found = inner.quantization
    if inner.type != schema.TensorType.INT8 or found is None or found.scale is None:
        raise ConversionError(
            "the model's input cannot be quantised: its first operator takes floats only",
            hint="try: --recipe float16, --recipe dynamic-int8, or --recipe wi8c-ai8+float-io",
        )
    scale, zero_point = float(found.scale[0]), int(found.zeroPoint[0]) + _INT8_OFFSET
    if abs(scale / encoding.scale - 1) > 1e-3 or zero_point != encoding.zero_point:
        raise ConversionError(
            f"expected an input with scale {encoding.scale:.6g} and zero point {encoding.zero_point} from the "
            f"quantiser, got {scale:.6g} and {zero_point}"
        )


def _quantize(model: Any, source: int, target: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = code_index(model, schema.BuiltinOperator.QUANTIZE)
    operator.inputs, operator.outputs = [source], [target]
    operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    operator.builtinOptions = schema.QuantizeOptionsT()
    return operator
