"""Which operators of a model a recipe's ``keep_float`` patterns mean."""

from __future__ import annotations

import fnmatch

from converters.tflite_reader import OperatorInfo, SubgraphInfo, TfliteInfo
from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError

_SCOPE_LENGTH = 10_000
"""litert-quantizer cuts longer scopes."""


def kept_scopes(info: TfliteInfo, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes, as litert-quantizer has them, of the operators that stay float.

    Args:
        info: the float model.
        patterns: an operator's name (``HARD_SWISH``), or a layer's output tensor, with ``*`` and ``?``. A tensor that
            is called exactly so counts as such, whatever signs are in its name.

    Raises:
        UsageError: a pattern means no operator of the model.
    """
    kept: dict[str, None] = {}
    for pattern in patterns:
        found = [scope_of(operator, info.main) for operator in info.main.operators if means(pattern, operator, info)]
        if not found:
            known = {operator.name for operator in info.main.operators}
            known |= {info.main.tensors[index].name for operator in info.main.operators for index in operator.outputs}
            raise UsageError(
                f'nothing to keep in float: no operator or output tensor of the model is "{pattern}"',
                hint=suggestion(pattern, known),
            )
        kept |= dict.fromkeys(found)
    return tuple(kept)


def inner_scopes(info: TfliteInfo) -> tuple[str, ...]:
    """Return the scopes of all that is in inner graphs, the bodies of loops and branches: no ranges are measured there.

    What a graph is given and gives counts as operators of its own.
    """
    kept: dict[str, None] = {}
    for graph in info.subgraphs[1:]:
        kept |= dict.fromkeys(scope_of(operator, graph) for operator in graph.operators)
        kept |= dict.fromkeys(_scope(indices, graph) for indices in (graph.inputs, graph.outputs))
    return tuple(kept)


def means(pattern: str, operator: OperatorInfo, info: TfliteInfo) -> bool:
    """Tell whether a pattern means an operator of the main graph."""
    names = [info.main.tensors[index].name for index in operator.outputs]
    return pattern == operator.name or any(pattern == name or fnmatch.fnmatchcase(name, pattern) for name in names)


def scope_of(operator: OperatorInfo, graph: SubgraphInfo) -> str:
    """Return what litert-quantizer calls an operator: its output tensors' names, each with a semicolon."""
    return _scope(operator.outputs or operator.inputs, graph)


def _scope(indices: tuple[int, ...], graph: SubgraphInfo) -> str:
    return "".join(f"{graph.tensors[index].name};" for index in indices if index >= 0)[:_SCOPE_LENGTH]
