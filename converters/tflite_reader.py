"""What is in a ``.tflite`` file: tensors, operators with their versions, sizes; damaged files give an error."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from converters.builtin_operators import BUILTIN_OPERATORS, CUSTOM
from converters.flatbuffer import DamagedError, Table, root
from device_runtime.errors import ModelError
from device_runtime.files import refused

T = TypeVar("T")

MAGIC = b"TFL3"
MAX_BYTES = (1 << 31) - (1 << 20)
"""A FlatBuffer's offsets are 32 bits with a sign; a little room is left for tables."""

# Enum TensorType of schema.fbs, by value.
_TYPES = """
float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 uint64 resource variant
uint32 uint16 int4 bfloat16 int2 uint4 float8_e4m3fn float8_e5m2
""".split()  # noqa: SIM905 - words read better without quotes


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a graph.

    ``scales`` and ``zero_points`` have one value per tensor or one per channel, and are empty when it is not
    quantised. ``constant_bytes`` is the size of its stored values, 0 for an activation. ``shape_signature`` has -1
    where a size is dynamic, and is ``shape`` where the file does not say.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    constant_bytes: int = 0
    shape_signature: tuple[int, ...] = ()


@dataclass(frozen=True)
class OperatorInfo:
    """One operator: its builtin name, or a custom operator's own; the version it asks for; its tensors' indices.

    An optional input that is left out is -1. ``custom_options`` are a custom operator's parameters.
    """

    name: str
    version: int
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom_options: bytes = b""


@dataclass(frozen=True)
class SubgraphInfo:
    """One graph. ``inputs`` and ``outputs`` are tensor indices."""

    name: str
    tensors: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteInfo:
    """A whole file. ``metadata`` maps names to their content."""

    size_bytes: int
    description: str
    subgraphs: tuple[SubgraphInfo, ...]
    metadata: dict[str, bytes]

    @property
    def main(self) -> SubgraphInfo:
        """The graph that is run."""
        return self.subgraphs[0]

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The input tensors of the main graph."""
        return tuple(self.main.tensors[index] for index in self.main.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The output tensors of the main graph."""
        return tuple(self.main.tensors[index] for index in self.main.outputs)

    @property
    def operator_counts(self) -> dict[tuple[str, int], int]:
        """How often each operator and version occurs, the most frequent first."""
        found = Counter((operator.name, operator.version) for operator in self._operators())
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def custom_operators(self) -> tuple[str, ...]:
        """The names of the custom operators, sorted."""
        return tuple(sorted({operator.name for operator in self._operators() if operator.custom}))

    def producer(self, tensor: int) -> OperatorInfo | None:
        """Return the operator of the main graph that writes ``tensor``."""
        return next((operator for operator in self.main.operators if tensor in operator.outputs), None)

    def _operators(self) -> Iterator[OperatorInfo]:
        for graph in self.subgraphs:
            yield from graph.operators


def read_tflite(path: Path) -> TfliteInfo:
    """Read a ``.tflite`` file's structure, without running it.

    Raises:
        ModelError: it is missing, empty, damaged, or something else.
        EdgeError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"no such model: {path}") from error
    except OSError as error:
        raise refused(error, path, "read") from error
    return parse_tflite(data, str(path))


def parse_tflite(data: bytes, where: str) -> TfliteInfo:
    """Read the structure of a model in memory. Raises ModelError naming ``where``."""
    if data[4:8] != MAGIC:
        got = f"{data[4:8]!r}" if data else "an empty file"
        raise ModelError(
            f"{where}: expected a TFLite model ({MAGIC!r} at byte 4), got {got}",
            hint="a trained model becomes one by: edgekit convert MODEL",
        )
    try:
        return _model(root(data, MAGIC), len(data))
    except DamagedError as error:
        raise ModelError(f"{where}: damaged TFLite model: {error}", hint="copy or convert it again") from error


def _model(model: Table, size: int) -> TfliteInfo:
    codes = [_code(table) for table in model.tables(1)]
    buffers = model.tables(4)
    graphs = tuple(_graph(table, codes, buffers) for table in model.tables(2))
    if not graphs:
        raise DamagedError("it has no graph")
    metadata = {}
    for entry in model.tables(6):
        index = entry.number(1, "I")
        metadata[entry.text(0)] = _at(buffers, index, "buffer").content(0)
    return TfliteInfo(size, model.text(3), graphs, metadata)


def _code(table: Table) -> tuple[str, int, bool]:
    # Older files have the code in a byte (field 0); newer ones in field 3, with 127 in the byte when it is more.
    code = max(table.number(0, "b"), table.number(3, "i"))
    version = table.number(2, "i", 1)
    if code == CUSTOM:
        return table.text(1), version, True
    name = BUILTIN_OPERATORS[code] if 0 <= code < len(BUILTIN_OPERATORS) else f"BUILTIN_{code}"
    return name, version, False


def _graph(table: Table, codes: list[tuple[str, int, bool]], buffers: list[Table]) -> SubgraphInfo:
    sizes: dict[int, int] = {}
    tensors = tuple(_tensor(item, functools.partial(_buffer_size, buffers, sizes)) for item in table.tables(0))
    operators = tuple(_operator(item, codes, len(tensors)) for item in table.tables(3))
    inputs, outputs = table.integers(1), table.integers(2)
    for index in (*inputs, *outputs):
        _at(tensors, index, "tensor")
    return SubgraphInfo(table.text(4), tensors, operators, inputs, outputs)


def _tensor(table: Table, size_of: functools.partial[int]) -> TensorInfo:
    kind = table.number(1, "b")
    shape = table.integers(0)
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    quantisation = table.table(4)
    if quantisation is not None:
        scales = quantisation.numbers(2, "f")
        zero_points = quantisation.integers(3, "q")
    return TensorInfo(
        table.text(3),
        shape,
        _TYPES[kind] if 0 <= kind < len(_TYPES) else f"type{kind}",
        scales,
        zero_points,
        size_of(table.number(2, "I")),
        table.integers(7) or shape,
    )


def _buffer_size(buffers: list[Table], known: dict[int, int], index: int) -> int:
    """Return a buffer's size; 0 means none. Beyond 2 GB it lies outside the table, with its size in field 2."""
    if index == 0:
        return 0
    if index not in known:
        buffer = _at(buffers, index, "buffer")
        known[index] = buffer.count(0) or buffer.number(2, "Q")
    return known[index]


def _operator(table: Table, codes: list[tuple[str, int, bool]], tensors: int) -> OperatorInfo:
    name, version, custom = _at(codes, table.number(0, "I"), "operator code")
    inputs, outputs = table.integers(1), table.integers(2)
    if any(not -1 <= index < tensors for index in (*inputs, *outputs)):
        raise DamagedError(f"operator {name} refers to a tensor that is not there")
    return OperatorInfo(name, version, custom, inputs, outputs, table.content(5) if custom else b"")


def _at(items: Sequence[T], index: int, what: str) -> T:
    if not 0 <= index < len(items):
        raise DamagedError(f"{what} {index} is not there ({len(items)} are)")
    return items[index]
