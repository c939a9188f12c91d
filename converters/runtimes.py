"""What each runtime can run, and which operators of a model it cannot, by name and layer, with the way out."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from converters.tflite_reader import OperatorInfo, SubgraphInfo, TfliteInfo
from device_runtime.contract.decode import loads

TABLE = Path(__file__).with_name("runtime_operators.json")
"""Written by ``converters.probe_runtimes``: what the engines themselves answer."""

FLEX = "Flex"
"""What TensorFlow's own operators are called inside a ``.tflite`` file begins with this."""


_WITHOUT_INT4 = ("tflite-runtime",)
"""Measured with 2.14.0: convolutions with int4 weights load and give NaN, fully connected layers do not load."""

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_FEW_BITS = ("int4", "int2")


@dataclass(frozen=True)
class Runtime:
    """What a runtime has: the highest version of each builtin operator, and its custom operators."""

    version: str
    builtin: dict[str, int]
    custom: tuple[str, ...]


@dataclass(frozen=True)
class Unsupported:
    """An operator that a runtime cannot run.

    ``layer`` is the name of its first output, or its place in the graph where names were removed. ``way_out`` is an
    imperative that can be followed.
    """

    operator: str
    version: int
    layer: str
    reason: str
    way_out: str


@functools.cache
def runtimes() -> dict[str, Runtime]:
    """Return the known runtimes by the names of their engines."""
    return loads(dict[str, Runtime], TABLE.read_text(encoding="utf-8"), str(TABLE))


def unsupported(info: TfliteInfo, runtime: str) -> tuple[Unsupported, ...]:
    """Return the operators of a model that a runtime cannot run, in the order of the graph.

    Args:
        info: the model.
        runtime: the name of an engine.
    """
    known = runtimes()[runtime]
    found = []
    for graph in info.subgraphs:
        for place, operator in enumerate(graph.operators):
            trouble = _trouble(operator, runtime, known) or _weights(operator, graph, runtime, known)
            if trouble is not None:
                found.append(Unsupported(operator.name, operator.version, layer_of(graph, place), *trouble))
    return tuple(found)


def layer_of(graph: SubgraphInfo, place: int) -> str:
    """Return the name of the operator at ``place`` of a graph: its first output's, or what and where it is."""
    operator = graph.operators[place]
    output = next((graph.tensors[index].name for index in operator.outputs if index >= 0), "")
    return output or f"{operator.name} #{place}"


def _trouble(operator: OperatorInfo, runtime: str, known: Runtime) -> tuple[str, str] | None:
    """Return why an operator cannot be run, and the way out; None when it can."""
    if operator.custom:
        return None if operator.name in known.custom else _custom(operator.name, runtime)
    highest = known.builtin.get(operator.name, 0)
    if operator.version <= highest:
        return None
    others = [name for name, other in runtimes().items() if operator.version <= other.builtin.get(operator.name, 0)]
    if not highest:
        reason = f"{runtime} {known.version} does not have {operator.name}"
    else:
        reason = f"{runtime} {known.version} has {operator.name} up to version {highest}"
    if others:
        return reason, (
            f"run it with {' or '.join(others)}, or convert the model for this one: edgekit convert MODEL --runtime "
            f"{runtime}"
        )
    return reason, f"replace the layer, or keep it float: edgekit convert MODEL --runtime {runtime}"


def _weights(operator: OperatorInfo, graph: SubgraphInfo, runtime: str, known: Runtime) -> tuple[str, str] | None:
    """Return what is wrong with the types of an operator's weights: versions do not tell all."""
    types = {graph.tensors[index].dtype for index in operator.inputs[1:2] if index >= 0}
    if runtime not in _WITHOUT_INT4 or operator.name not in _WEIGHTED or types.isdisjoint(_FEW_BITS):
        return None
    return (
        f"{runtime} {known.version} has no kernels for {min(types)} weights: it does not load them, or computes NaN",
        f"convert the trained model for this runtime: --runtime {runtime}, or --recipe dynamic-int8",
    )


def _custom(name: str, runtime: str) -> tuple[str, str]:
    if name.startswith(FLEX):
        return (
            f"{name.removeprefix(FLEX)} is an operator of TensorFlow itself, which {runtime} does not have",
            "export the model with TFLite's builtin operators only (TFLITE_BUILTINS), and replace this layer by others",
        )
    return f"a custom operator that {runtime} does not have", "replace this layer by others, and export the model again"
