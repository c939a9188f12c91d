"""Which version of an operator a graph needs: quantisers change tensor types, and with them the kernel that is meant.

A kernel that is too old may load such a graph and compute something else without a word, so that a file has to state
the versions. The rules are those of TensorFlow's GetBuiltinOperatorVersion
(tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc at commit 03f49db5a23e), as far as they depend on types:
what depends on an operator's options is in the versions that the float model came with, and those are never lowered.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from converters.errors import ConversionError
from converters.tflite_reader import OperatorInfo, SubgraphInfo, TensorInfo, TfliteInfo

Tensors = list[TensorInfo]

_INT8_FROM_2 = """
ABS ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND CONCATENATION DEPTH_TO_SPACE EQUAL EXP
FLOOR_MOD GATHER GELU GREATER GREATER_EQUAL LESS LESS_EQUAL LOG LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM
MIRROR_PAD NOT_EQUAL PACK PAD PADV2 REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT_V SQRT SQUARED_DIFFERENCE
STRIDED_SLICE SUB SUM TANH TOPK_V2 TRANSPOSE UNPACK
""".split()  # noqa: SIM905 - words read better without quotes
# Their first input is int8.
_INT8 = {
    **dict.fromkeys(_INT8_FROM_2, 2),
    **dict.fromkeys(("BROADCAST_TO", "FLOOR_DIV", "REVERSE_V2", "TILE", "SVDF"), 3),
}
# First input, weights and output int8.
_INT8_WEIGHTED = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
# Float input and output, int8 weights: with one scale, and with one per channel.
_HYBRID = {"CONV_2D": (2, 5), "DEPTHWISE_CONV_2D": (4, 6), "FULLY_CONNECTED": (3, 12)}


def needed_version(operator: OperatorInfo, graph: SubgraphInfo) -> int:
    """Return the lowest version of ``operator`` whose kernels can compute what its tensors' types mean."""
    inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
    outputs = [graph.tensors[index] for index in operator.outputs if index >= 0]
    if operator.custom or not inputs or not outputs:
        return 1
    if operator.name in _HYBRID:
        return _weighted(operator.name, inputs, outputs)
    if operator.name in _RULES:
        return _RULES[operator.name](inputs, outputs)
    return _INT8.get(operator.name, 1) if inputs[0].dtype == "int8" else 1


def require_versions(info: TfliteInfo, where: str) -> None:
    """Check that no operator states a lower version than its tensors' types need.

    Raises:
        ConversionError: one does; an engine might load it and compute something else.
    """
    for graph in info.subgraphs:
        for operator in graph.operators:
            needed = needed_version(operator, graph)
            if operator.version < needed:
                output = graph.tensors[operator.outputs[0]].name
                raise ConversionError(
                    f"{where}: operator {operator.name} ({output}) states version {operator.version}, its types need "
                    f"{needed}: an engine might compute something else"
                )


def _weighted(name: str, inputs: Tensors, outputs: Tensors) -> int:
    if len(inputs) < 2 or inputs[1].dtype != "int8":
        return 1
    types = (inputs[0].dtype, outputs[0].dtype)
    if types == ("int8", "int8"):
        return _INT8_WEIGHTED[name]
    if types == ("float32", "float32"):
        return _HYBRID[name][1 if _per_channel(inputs[1]) else 0]
    return 1


def _quantize(inputs: Tensors, outputs: Tensors) -> int:
    return 3 if _per_channel(inputs[0]) or _per_channel(outputs[0]) else 1


def _dequantize(inputs: Tensors, outputs: Tensors) -> int:
    del outputs
    if inputs[0].dtype in ("int16", "float16"):
        return 3
    if inputs[0].dtype == "int8":
        return 5 if _per_channel(inputs[0]) else 2
    return 1


def _second_input(inputs: Tensors, outputs: Tensors) -> int:
    """Operators whose data are their second input."""
    del outputs
    return 2 if len(inputs) > 1 and inputs[1].dtype == "int8" else 1


def _embedding(inputs: Tensors, outputs: Tensors) -> int:
    del outputs
    return 4 if len(inputs) > 1 and _per_channel(inputs[1]) else 1


def _cast(inputs: Tensors, outputs: Tensors) -> int:
    return 3 if "int8" in (inputs[0].dtype, outputs[0].dtype) else 1


def _l2_normalization(inputs: Tensors, outputs: Tensors) -> int:
    del inputs
    return 2 if outputs[0].dtype == "int8" else 1


def _multiply(inputs: Tensors, outputs: Tensors) -> int:
    """A quantised product that is rescaled by 1 or more needs another kernel."""
    tensors = (*inputs[:2], outputs[0])
    if len(inputs) > 1 and all(len(tensor.scales) == 1 and tensor.scales[0] for tensor in tensors):
        factor = inputs[0].scales[0] * inputs[1].scales[0] / outputs[0].scales[0]
        if math.isfinite(factor) and factor >= 1.0:
            return 3
    return 2 if inputs[0].dtype == "int8" else 1


def _per_channel(tensor: TensorInfo) -> bool:
    return len(tensor.scales) > 1


_RULES: dict[str, Callable[[Tensors, Tensors], int]] = {
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    "SPLIT": _second_input,
    "TRANSPOSE_CONV": _second_input,
    "EMBEDDING_LOOKUP": _embedding,
    "CAST": _cast,
    "L2_NORMALIZATION": _l2_normalization,
    "MUL": _multiply,
}
