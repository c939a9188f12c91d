"""What an ONNX file tells before any framework is there to read it: whether it is one, whole, and not too large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from device_runtime.errors import ModelError
from device_runtime.files import refused

MAX_BYTES = (1 << 31) - 1
"""Neither a protobuf message (protobuf.dev, "Size limits") nor a FlatBuffer holds more."""

# Fields of ModelProto (onnx.proto3) and wire types (protobuf.dev/programming-guides/encoding).
_GRAPH, _OPSETS = 7, 8
_FIELDS = (*range(1, 9), 14, 20, 25, 26)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_file(path: Path) -> None:
    """Refuse a file that is no ONNX model, or not all of one.

    Raises:
        ModelError: it cannot be read, is empty, damaged, cut off, or larger than 2 GB.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ModelError(
                f"{path}: expected a model below 2 GB, got {size / 1e9:.1f} GB: a TFLite file cannot hold it",
                hint="export a smaller variant of the model",
            )
        with path.open("rb") as stream:
            found = set(_fields(stream, size))
    except OSError as error:
        raise refused(error, path, "read") from error
    except ValueError as error:
        raise ModelError(f"{path}: not an ONNX model, or cut off: {error}", hint="copy or export it again") from error
    if not {_GRAPH, _OPSETS} <= found:
        missing = "graph" if _GRAPH not in found else "operator set"
        raise ModelError(f"{path}: not an ONNX model: it has no {missing}", hint="copy or export it again")


def _fields(stream: BinaryIO, size: int) -> Iterator[int]:
    """Yield the numbers of a message's outermost fields, skipping what they hold. Raises ValueError when damaged."""
    position = 0
    while position < size:
        key, position = _varint(stream, position)
        field, wire = key >> 3, key & 7
        if field not in _FIELDS:
            raise ValueError(f"unknown field {field} at byte {position}")
        if wire == _VARINT:
            _, position = _varint(stream, position)
        elif wire == _BYTES:
            length, position = _varint(stream, position)
            position += length
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire} at byte {position}")
        if position > size:
            raise ValueError(f"expected {position} bytes or more, got {size}")
        stream.seek(position)
        yield field


def _varint(stream: BinaryIO, position: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, low bits first; return it, and where it ends."""
    value = 0
    for index in range(10):
        byte = stream.read(1)
        if not byte:
            raise ValueError(f"it ends at byte {position + index} within a number")
        value |= (byte[0] & 0x7F) << (7 * index)
        if byte[0] < 0x80:
            return value, position + index + 1
    raise ValueError(f"a number without an end at byte {position}")
