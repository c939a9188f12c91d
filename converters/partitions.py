"""In how many pieces XNNPACK takes a model, and which operators it leaves out.

Each piece is one call of a library that keeps its values in a layout of its own; between two pieces they are handed
over, and what is left out runs with the engine's own kernels. The number predicts latency well, and costs no
measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converters.runtimes import layer_of
from converters.tflite_reader import SubgraphInfo
from device_runtime.engine.interface import DELEGATE_NODE, Node


@dataclass(frozen=True)
class OperatorRef:
    """An operator of a model's main graph: ``place`` is its number there, from 0, ``layer`` see ``layer_of``."""

    operator: str
    version: int
    layer: str
    place: int


@dataclass(frozen=True)
class Partitions:
    """How an engine runs a model: ``count`` pieces of XNNPACK, with ``inside`` operators, and those ``outside``.

    ``breaking`` are those outside that lie between two pieces. With no piece at all nothing is broken: the engine has
    no kernels of XNNPACK for this kind of model.
    """

    engine: str
    engine_version: str
    count: int
    inside: int
    outside: tuple[OperatorRef, ...]
    breaking: tuple[OperatorRef, ...]


def partitions_of(nodes: Sequence[Node], graph: SubgraphInfo, engine: str, engine_version: str) -> Partitions:
    """Find out which operators are inside the pieces.

    Args:
        nodes: what the engine has after loading: the operators of the graph in their order, then a node for each piece.
        graph: the model's main graph.
        engine: whose nodes these are.
        engine_version: its version.
    """
    operators = nodes[: len(graph.operators)]
    pieces = [node for node in nodes[len(graph.operators) :] if node.name == DELEGATE_NODE]
    inside = set[int]()
    for piece in pieces:
        inside |= _inside(piece, operators)
    outside = tuple(
        OperatorRef(operator.name, operator.version, layer_of(graph, place), place)
        for place, operator in enumerate(graph.operators)
        if place not in inside
    )
    breaking = tuple(each for each in outside if len(pieces) > 1 and min(inside) < each.place < max(inside))
    return Partitions(engine, engine_version, len(pieces), len(inside), outside, breaking)


def _inside(piece: Node, operators: Sequence[Node]) -> set[int]:
    """Return the places of the operators that a piece stands for: those on the way from its outputs to its inputs."""
    writers = {output: place for place, operator in enumerate(operators) for output in operator.outputs}
    found = set[int]()
    pending = list(piece.outputs)
    given = set(piece.inputs)
    while pending:
        tensor = pending.pop()
        place = writers.get(tensor)
        if tensor in given or place is None or place in found:
            continue
        found.add(place)
        pending += operators[place].inputs
    return found
