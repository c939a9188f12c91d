"""Which layers of two versions of one model are the same: by the names of their tensors, or by their order."""

from __future__ import annotations

from dataclasses import dataclass

from converters.runtimes import layer_of
from converters.tflite_reader import OperatorInfo, SubgraphInfo, TensorInfo

_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
"""What a quantiser puts between layers; no layer of the trained model."""

_VALUES = ("float32", "float16")


@dataclass(frozen=True)
class LayerPair:
    """A layer in two models: its name and operator, and the number of its output tensor in each."""

    name: str
    operator: str
    one: int
    two: int


def paired_layers(one: SubgraphInfo, two: SubgraphInfo) -> tuple[LayerPair, ...]:
    """Return the layers that two versions of a model share, in the order of the first.

    Names tell. Where inner tensors have none (a file that was shrunk), the order of the operators does, when it is the
    same in both but for conversions between types.

    Args:
        one: a float version, which gives the names.
        two: a quantised version.
    """
    named = {tensor.name: index for index, tensor in enumerate(two.tensors) if tensor.name}
    if all(two.tensors[index].name for operator in two.operators for index in operator.outputs if index >= 0):
        return tuple(
            LayerPair(one.tensors[index].name, operator.name, index, named[one.tensors[index].name])
            for _, operator, index in _outputs(one)
            if one.tensors[index].name in named and _comparable(one, two, index, named[one.tensors[index].name])
        )
    ours, others = _outputs(one), _outputs(two)
    if [operator.name for _, operator, _ in ours] != [operator.name for _, operator, _ in others]:
        return ()
    return tuple(
        LayerPair(one.tensors[index].name or layer_of(one, place), operator.name, index, other)
        for (place, operator, index), (_, _, other) in zip(ours, others, strict=True)
        if _comparable(one, two, index, other)
    )


def _outputs(graph: SubgraphInfo) -> list[tuple[int, OperatorInfo, int]]:
    """Return the operators that are layers, with their places, each with its output tensors, one after the other."""
    return [
        (place, operator, index)
        for place, operator in enumerate(graph.operators)
        if operator.name not in _CONVERSIONS
        for index in operator.outputs
        if index >= 0
    ]


def _comparable(one: SubgraphInfo, two: SubgraphInfo, index: int, other: int) -> bool:
    wanted, got = one.tensors[index], two.tensors[other]
    return wanted.dtype in _VALUES and wanted.shape == got.shape and _real(got)


def _real(tensor: TensorInfo) -> bool:
    """Tell whether a tensor holds real values, stored as they are or with one scale."""
    return tensor.dtype in _VALUES or len(tensor.scales) == 1
