"""What an explanation amounts to: what is wrong with a model, or slow, and the way out of it."""

from __future__ import annotations

import enum
import shlex
from collections import Counter
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
    if found.inside < len(found.outside):
        taken = f"{found.inside} of {found.inside + len(found.outside)} operators" if found.inside else "nothing"
        better = [name for name in others if name != runtime]
        yield Finding(
            f"{where}: XNNPACK takes {taken} of this model on this machine, the engine's own kernels run the rest",
            f"run it with {' or '.join(better)}" if better else "measure it on the board: edgekit bench MODEL",
        )
        return
    groups: dict[_Kind, list[OperatorRef]] = {}
    for item in found.breaking:
        groups.setdefault(_kind(info.main, item), []).append(item)
    for kind, items in groups.items():
        counts = Counter(item.operator for item in items)
        told = ", ".join(f"{count} {operator}" for operator, count in counts.most_common())
        layers = _listed([item.layer for item in items])
        yield Finding(
            f"{where}: XNNPACK takes the model in {found.count} pieces; between them {told} ({kind.value}): {layers}",
            _mended(kind, sorted(counts)),
        )


class _Kind(enum.Enum):
    """How an operator computes, in words."""

    INTEGER = "integers"
    HYBRID = "floats with integer weights"
    CONVERSION = "a change of types"
    OTHER = "as the trained model does"


def _kind(graph: SubgraphInfo, item: OperatorRef) -> _Kind:
    if item.operator in ("QUANTIZE", "DEQUANTIZE"):
        return _Kind.CONVERSION
    inputs = [graph.tensors[index] for index in graph.operators[item.place].inputs if index >= 0]
    if inputs and inputs[0].scales:
        return _Kind.INTEGER
    if any(tensor.constant_bytes and tensor.scales for tensor in inputs[1:2]):
        return _Kind.HYBRID
    return _Kind.OTHER


def _mended(kind: _Kind, operators: Sequence[str]) -> str:
    if kind is _Kind.INTEGER:
        return f"keep them in float when the trained model is converted: --recipe {_keeping(operators)}"
    if kind is _Kind.HYBRID:
        return "use one kind of arithmetic: --recipe static-int8, or --recipe weight-only-int8"
    if kind is _Kind.CONVERSION:
        return "keep longer stretches in one type, or search for what is fastest: --recipe auto"
    return "replace them in the trained model by what XNNPACK has, or compute that part outside of the model"


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
        keep = f"keep it in float when the trained model is converted: --recipe {_keeping([layer.name])}; or "
        yield Finding(
            f"accuracy goes in {layer.name} ({layer.operator}): its output has {layer.snr_db:.1f} dB signal to "
            f"noise{came}",
            f"{keep if layer.name in named else ''}search for what costs least: --recipe auto",
        )


def _keeping(patterns: Sequence[str]) -> str:
    """Return the integer recipe that keeps operators or layers in float, as a shell takes it."""
    return shlex.quote(formula_of(replace(RECIPES["static-int8"], keep_float=tuple(patterns))))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_LAYERS
    return ", ".join(names[:_NAMED_LAYERS]) + (f" and {more} more" if more > 0 else "")
