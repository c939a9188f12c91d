"""What an explanation amounts to: what is wrong with a model, or slow, and the way out of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from converters.interface import LayerError
from converters.partitions import OperatorRef, Partitions
from converters.recipe import RECIPES
from converters.recipe_formula import formula_of
from converters.runtimes import Unsupported, layer_of
from converters.tflite_reader import SubgraphInfo, TfliteInfo

_NAMED_LAYERS = 3
_NAMED_LOSSES = 3
_FALL_DB = 6.0
"""A layer adds something of its own from here on: its noise is twice what its inputs brought along."""

_GOOD_DB = 30.0
"""Above this the noise is under 3% of the signal, and no decision turns on it."""


@dataclass(frozen=True)
class Finding:
    """Something to know of a model, and an imperative that mends it."""

    what: str
    way_out: str


@dataclass(frozen=True)
class RuntimeView:
    """A model on a runtime: what it cannot run, and its pieces.

    ``partitions`` are None when they are not known: the engine is not ``installed`` here, or it does not load the
    model; ``trouble`` is what it said then.
    """

    runtime: str
    version: str
    unsupported: tuple[Unsupported, ...] = ()
    partitions: Partitions | None = None
    installed: bool = True
    trouble: str = ""


def findings_of(
    info: TfliteInfo, views: Sequence[RuntimeView], layers: Sequence[LayerError], float_info: TfliteInfo | None
) -> tuple[Finding, ...]:
    """Return what matters, the gravest first.

    Args:
        info: the model.
        views: the model on each runtime.
        layers: how far its layers are from those of ``float_info``, empty when they were not compared.
        float_info: the float version.
    """
    found: list[Finding] = []
    for view in views:
        found += _refused(view)
    for view in views:
        if view.partitions is not None:
            others = [other.runtime for other in views if other.partitions is not None and other.partitions.count]
            found += _pieces(view.runtime, view.partitions, info, others)
    if float_info is not None:
        found += _losses(layers, float_info.main)
    return tuple(found)


def _refused(view: RuntimeView) -> Iterator[Finding]:
    groups: dict[tuple[str, int], list[Unsupported]] = {}
    for item in view.unsupported:
        groups.setdefault((item.operator, item.version), []).append(item)
    for (operator, version), items in groups.items():
        layers = _listed([item.layer for item in items])
        yield Finding(
            f"{view.runtime} cannot run {operator} version {version} ({layers}): {items[0].reason}", items[0].way_out
        )
    if view.trouble:
        yield Finding(view.trouble, f"convert the trained model for this runtime: --runtime {view.runtime}")


def _pieces(runtime: str, found: Partitions, info: TfliteInfo, others: Sequence[str]) -> Iterator[Finding]:
    where = f"{runtime} {found.engine_version}"
    if not found.count:
        yield Finding(
            f"{where}: XNNPACK takes nothing of this model on this machine, all {len(found.outside)} operators run "
            "with the engine's own kernels",
            f"run it with {' or '.join(others)}, which has XNNPACK's kernels for it"
            if others
            else "measure it on the board: edgekit bench MODEL",
        )
        return
    groups: dict[tuple[str, str], list[OperatorRef]] = {}
    for item in found.breaking:
        groups.setdefault((item.operator, _kind(info.main, item)), []).append(item)
    for (operator, kind), items in sorted(groups.items(), key=lambda group: -len(group[1])):
        yield Finding(
            f"{where}: XNNPACK takes the model in {found.count} pieces; {len(items)} {operator} ({kind}) between them: "
            f"{_listed([item.layer for item in items])}",
            _mended(operator, kind),
        )


def _kind(graph: SubgraphInfo, item: OperatorRef) -> str:
    """Return how an operator computes: ``int8``, ``float32`` or ``float32 with int8 weights``."""
    operator = graph.operators[item.place]
    inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
    first = inputs[0].dtype if inputs else "no input"
    weights = inputs[1] if len(inputs) > 1 and inputs[1].constant_bytes else None
    mixed = weights is not None and weights.dtype in ("int8", "int4") and first.startswith("float")
    return f"{first} with {weights.dtype} weights" if mixed and weights is not None else first


def _mended(operator: str, kind: str) -> str:
    if kind in ("int8", "uint8"):
        return f"keep it in float when the trained model is converted: --recipe {_keeping(operator)}"
    if "weights" in kind:
        return (
            "use integer arithmetic or float arithmetic throughout: --recipe static-int8 or --recipe weight-only-int8"
        )
    return "replace the layer by one that XNNPACK has, such as RELU6 or LOGISTIC for an activation"


def _losses(layers: Sequence[LayerError], graph: SubgraphInfo) -> Iterator[Finding]:
    """Yield the layers that lose most by themselves: that are much worse than what they are given."""
    known = {layer.name: layer for layer in layers}
    names = {
        index: graph.tensors[index].name or layer_of(graph, place)
        for place, operator in enumerate(graph.operators)
        for index in operator.outputs
        if index >= 0
    }
    falls = []
    for operator in graph.operators:
        mine, before = (
            [known[names[index]] for index in indices if names.get(index) in known]
            for indices in (operator.outputs, operator.inputs)
        )
        given = min((layer.snr_db for layer in before), default=None)
        for layer in mine:
            fall = _FALL_DB if given is None else given - layer.snr_db
            if fall >= _FALL_DB and layer.snr_db < _GOOD_DB:
                falls.append((fall, given, layer))
    named = {tensor.name for tensor in graph.tensors}
    for _, given, layer in sorted(falls, key=lambda item: -item[0])[:_NAMED_LOSSES]:
        came = "" if given is None else f", its inputs {given:.1f} dB"
        keep = f"keep it in float when the trained model is converted: --recipe {_keeping(layer.name)}; or "
        yield Finding(
            f"accuracy goes in {layer.name} ({layer.operator}): its output has {layer.snr_db:.1f} dB signal to "
            f"noise{came}",
            f"{keep if layer.name in named else ''}search for what costs least: --recipe auto",
        )


def _keeping(pattern: str) -> str:
    """Return the integer recipe that keeps an operator or a layer in float, as a shell takes it."""
    return shlex.quote(formula_of(replace(RECIPES["static-int8"], keep_float=(pattern,))))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_LAYERS
    return ", ".join(names[:_NAMED_LAYERS]) + (f" and {more} more" if more > 0 else "")
