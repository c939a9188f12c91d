"""Gives a float model the names and the order that its conversion speaks of. Child process only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converters.errors import ConversionError
from converters.jobs import Done, Tidy
from converters.natural_order import natural_key
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import Events
from device_runtime.files import write_bytes

_STALE_METADATA = (b"min_runtime_version", b"CONVERSION_METADATA")
"""What the float converter said of its own file; it is not true of ours."""


def tidy(job: Tidy, events: Events) -> Done:
    """Rewrite a float model with known names, and its outputs in the decoder's order.

    Converters order inputs and outputs as they like; the names in the signature tell which is which. Tensors of one
    name, which a quantiser could not tell apart, are numbered.

    Raises:
        ConversionError: inputs or outputs are missing.
        EdgeError: the disk is full.
    """
    del events
    model = unpack(Path(job.model).read_bytes())
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    outputs = _ordered(signature.outputs, graph.outputs, len(job.outputs), "outputs")
    graph.inputs = _ordered(signature.inputs, graph.inputs, len(job.inputs), "inputs")
    graph.outputs = [outputs[index] for index in job.order]
    taken = {tensor.name for tensor in graph.tensors}
    names = [*job.inputs, *(job.outputs[index] for index in job.order)]
    for index, name in zip([*graph.inputs, *graph.outputs], names, strict=True):
        if name.encode() not in taken:
            graph.tensors[index].name = name.encode()
    _number_equal_names(model)
    model.metadata = [item for item in model.metadata or [] if item.name not in _STALE_METADATA]
    write_bytes(Path(job.target), pack(model))
    return Done()


def _ordered(named: Any, present: Any, count: int, what: str) -> list[int]:
    ordered = [tensor.tensorIndex for tensor in sorted(named, key=lambda item: natural_key(item.name.decode()))]
    if sorted(ordered) != sorted(present) or len(ordered) != count:
        raise ConversionError(
            f"expected {count} {what} in the exported model, got {len(ordered)} in its signature and "
            f"{len(present)} in its graph",
            hint="an output that is given out twice, or that is an input, cannot be converted",
        )
    return ordered


def _number_equal_names(model: Any) -> None:
    """Make every tensor's name the only one of its kind; inputs and outputs keep theirs."""
    main = model.subgraphs[0]
    first = [main.tensors[index] for index in (*main.inputs, *main.outputs)]
    taken: set[bytes] = set()
    seen: set[int] = set()
    for tensor in (*first, *(tensor for graph in model.subgraphs for tensor in graph.tensors)):
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if not tensor.name or tensor.name in taken:
            tensor.name = next(name for name in _numbered(tensor.name or b"tensor") if name not in taken)
        taken.add(tensor.name)


def _numbered(name: bytes) -> Iterator[bytes]:
    number = 1
    while True:
        number += 1
        yield b"%s_%d" % (name, number)
