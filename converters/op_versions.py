"""Which version of an operator a graph needs: quantisers change tensor types, and with them the kernel that is meant.

A kernel that is too old may load such a graph and compute something else without a word, so that a file has to state
the versions. The rules are those of TensorFlow's GetBuiltinOperatorVersion, as far as they depend on types: what
depends on an operator's options is in the versions that the float model came with, and those are never lowered.
Source: tensorflow/compiler/mlir/lite/tools/versioning/op_version.cc at commit 03f49db5a23ec2b22a59f3f3d72e5744469ea30b.
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
_INT16_FROM_2 = "EXP FLOOR_MOD LEAKY_RELU LOG REDUCE_PROD SQRT".split()  # noqa: SIM905 - as above
_INT16_FROM_3 = """
ABS ADD AVERAGE_POOL_2D BATCH_MATMUL BROADCAST_TO CONCATENATION FLOOR_DIV GATHER_ND GREATER_EQUAL LESS LOGISTIC
MAX_POOL_2D MEAN MIRROR_PAD PACK PAD PADV2 REDUCE_MAX REDUCE_MIN RELU RELU6 RSQRT SOFTMAX TANH TOPK_V2
""".split()  # noqa: SIM905 - as above
_INT16_FROM_4 = """
BATCH_TO_SPACE_ND DYNAMIC_UPDATE_SLICE GATHER MAXIMUM MINIMUM MUL NOT_EQUAL RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
SLICE SPACE_TO_BATCH_ND UNPACK
""".split()  # noqa: SIM905 - as above
_BY_FIRST_INPUT: dict[str, dict[str, int]] = {
    "int8": {
        **dict.fromkeys(_INT8_FROM_2, 2),
        **dict.fromkeys(("BROADCAST_TO", "FLOOR_DIV", "REVERSE_V2", "TILE", "SVDF"), 3),
    },
    # Quantised ones: int16 numbers without a scale are not what a quantiser makes.
    "int16": {
        **dict.fromkeys(_INT16_FROM_2, 2),
        **dict.fromkeys(_INT16_FROM_3, 3),
        **dict.fromkeys(_INT16_FROM_4, 4),
        **dict.fromkeys(("EQUAL", "SUB", "TRANSPOSE"), 5),
    },
    "int4": {"CONCATENATION": 5, "DYNAMIC_UPDATE_SLICE": 5, "GATHER": 7, "SLICE": 7, "TRANSPOSE": 7},
    "float16": {"ADD": 6, "DYNAMIC_UPDATE_SLICE": 3, "MUL": 8, "UNPACK": 5},
}
"""What depends on the type of the first input alone."""

# The versions by the types of the first input and output, and of the weights. int16 activations with int8 weights need
# none of their own: the source asks for int16 weights, too, so that TensorFlow's converter states 1, 5 or 6.
_INTEGERS = {
    "CONV_2D": {("int8", "int8"): 3, ("int8", "int4"): 7},
    "DEPTHWISE_CONV_2D": {("int8", "int8"): 3, ("int8", "int4"): 7},
    "FULLY_CONNECTED": {("int8", "int8"): 4, ("int8", "int4"): 10, ("int16", "int4"): 13},
}
# Float input and output, int8 weights: with one scale, and with one per channel.
_HYBRID = {"CONV_2D": (2, 5), "DEPTHWISE_CONV_2D": (4, 6), "FULLY_CONNECTED": (3, 12)}
# Float input and output, int8 weights: which input tells, and the version.
_HYBRID_RECURRENT = {
    "BIDIRECTIONAL_SEQUENCE_LSTM": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "LSTM": (2, 3),
    "RNN": (1, 2),
    "SVDF": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (2, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
}
_INT16_RECURRENT = {"LSTM": 5, "UNIDIRECTIONAL_SEQUENCE_LSTM": 5}
_ABSENT = TensorInfo("", (), "none")


def needed_version(operator: OperatorInfo, graph: SubgraphInfo) -> int:
    """Return the lowest version of ``operator`` whose kernels can compute what its tensors' types mean."""
    inputs = [graph.tensors[index] if index >= 0 else _ABSENT for index in operator.inputs]
    outputs = [graph.tensors[index] for index in operator.outputs if index >= 0]
    if operator.custom or not inputs or not outputs:
        return 1
    if operator.name in _HYBRID:
        return _weighted(operator.name, inputs, outputs)
    if operator.name in _HYBRID_RECURRENT:
        return _recurrent(operator.name, inputs, outputs)
    if operator.name in _RULES:
        return _RULES[operator.name](inputs, outputs)
    return _BY_FIRST_INPUT.get(inputs[0].dtype, {}).get(operator.name, 1)


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
    if len(inputs) < 2:
        return 1
    weights, types = inputs[1].dtype, (inputs[0].dtype, outputs[0].dtype)
    if name == "FULLY_CONNECTED" and weights == "int2":
        return 14
    if types == ("float32", "float32") and weights == "int8":
        return _HYBRID[name][1 if _per_channel(inputs[1]) else 0]
    if types[0] == types[1]:
        return _INTEGERS[name].get((types[0], weights), 1)
    return 1


def _recurrent(name: str, inputs: Tensors, outputs: Tensors) -> int:
    place, version = _HYBRID_RECURRENT[name]
    weights = inputs[place].dtype if len(inputs) > place else "none"
    types = (inputs[0].dtype, outputs[0].dtype)
    if types == ("float32", "float32") and weights == "int8":
        return version
    if types == ("int16", "int16") and weights == "int8":
        return _INT16_RECURRENT.get(name, 1)
    return 3 if name == "SVDF" and types[0] == "int8" else 1


def _quantize(inputs: Tensors, outputs: Tensors) -> int:
    types = (inputs[0].dtype, outputs[0].dtype)
    if "uint4" in types:
        return 5
    if "int4" in types:
        return 4
    if _per_channel(inputs[0]) or _per_channel(outputs[0]):
        return 3
    return 2 if types[1] == "int16" else 1


def _dequantize(inputs: Tensors, outputs: Tensors) -> int:
    del outputs
    if inputs[0].dtype == "int8":
        return 5 if _per_channel(inputs[0]) else 2
    return {"int16": 3, "float16": 3, "int4": 6, "int2": 7, "uint4": 8}.get(inputs[0].dtype, 1)


def _split(inputs: Tensors, outputs: Tensors) -> int:
    """Its data are its second input."""
    del outputs
    return {"int8": 2, "int32": 3, "int16": 4}.get(inputs[1].dtype, 1) if len(inputs) > 1 else 1


def _transpose_conv(inputs: Tensors, outputs: Tensors) -> int:
    """Its weights are its second input."""
    del outputs
    return 2 if len(inputs) > 1 and inputs[1].dtype == "int8" else 1


def _fill(inputs: Tensors, outputs: Tensors) -> int:
    """Its value is its second input."""
    del outputs
    return {"int8": 3, "int16": 3, "float16": 4}.get(inputs[1].dtype, 1) if len(inputs) > 1 else 1


def _embedding(inputs: Tensors, outputs: Tensors) -> int:
    del outputs
    if len(inputs) < 2:
        return 1
    if inputs[1].dtype == "int4" or _per_channel(inputs[1]):
        return 4
    return 5 if inputs[1].dtype == "int2" else 1


def _cast(inputs: Tensors, outputs: Tensors) -> int:
    types = (inputs[0].dtype, outputs[0].dtype)
    if "int2" in types or "uint4" in types:
        return 8
    if "bfloat16" in types:
        return 7
    if types == ("int4", "float32"):
        return 6
    if "float64" in types or "float16" in types:
        return 5
    return 3 if "int8" in types else 1


def _l2_normalization(inputs: Tensors, outputs: Tensors) -> int:
    del inputs
    return 2 if outputs[0].dtype == "int8" else 1


def _multiply(inputs: Tensors, outputs: Tensors) -> int:
    """A quantised product that is rescaled by 1 or more needs another kernel."""
    if inputs[0].dtype in ("int16", "float16"):
        return _BY_FIRST_INPUT[inputs[0].dtype]["MUL"]
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
    "SPLIT": _split,
    "TRANSPOSE_CONV": _transpose_conv,
    "FILL": _fill,
    "EMBEDDING_LOOKUP": _embedding,
    "CAST": _cast,
    "L2_NORMALIZATION": _l2_normalization,
    "MUL": _multiply,
}
