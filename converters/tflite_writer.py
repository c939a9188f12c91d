"""Reads a whole ``.tflite`` file into objects that can be changed, and writes it again. Child process only.

LiteRT's generated schema is what knows every table; ``tflite_reader`` looks at a file without it.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.errors import ConversionError
from converters.tflite_reader import MAGIC

_LIMIT = 1 << 31
_FIRST_SIZE = 1 << 20
_BUFFER_ALIGNMENT = 16
"""``force_align`` of Buffer.data in schema.fbs, which Python's code generator leaves out."""


def unpack(content: bytes) -> Any:
    """Return a model (``schema.ModelT``) with all its values in its tables.

    Values may lie behind the tables (an offset is more than 1 then: a converter does so above 2 GB, and
    litert-quantizer for any buffer above 256 KB); they are brought back into them.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    model.buffers = model.buffers or []
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    for operator in (operator for graph in model.subgraphs for operator in graph.operators or []):
        start, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
        if start > 1:
            operator.customOptions = np.frombuffer(content, np.uint8, size, start)
        operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    return model


def pack(model: Any) -> bytes:
    """Return the bytes of a model; equal lists of numbers are stored once.

    What was appended to the file that it came from (label files) is not in them.

    Raises:
        ConversionError: it is too large for a FlatBuffer, whose offsets are 32 bits with a sign.
    """
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    if size >= _LIMIT - _FIRST_SIZE:
        raise ConversionError(
            f"expected a model below 2 GB, got {size / 1e9:.1f} GB of values",
            hint="quantise the weights: --recipe dynamic-int8, or --recipe float16",
        )
    builder = _SharingBuilder(_FIRST_SIZE)
    builder.Finish(model.Pack(builder), MAGIC)
    return bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # it has no types
    """Stores a list of numbers once, however many tables refer to it: a FlatBuffer's offsets may meet.

    Scales and zero points make the most of it: 12 bytes per channel, and the zero points are zeros.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._known: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Any) -> int:  # noqa: N802 - the library's name
        """Write an array, or return where an equal one stands already."""
        if x.dtype == np.uint8:
            # Contents of buffers; those that are equal share a buffer, if anything may share.
            return self._bytes(x)
        key = (x.dtype.str, x.tobytes())
        if key not in self._known:
            self._known[key] = super().CreateNumpyVector(x)
        return self._known[key]

    def _bytes(self, values: Any) -> int:
        self.StartVector(1, values.size, _BUFFER_ALIGNMENT)
        self.head: int = self.head - values.size
        self.Bytes[self.head : self.head + values.size] = values.tobytes()
        self.vectorNumElems = values.size
        return int(self.EndVector())


def kind_of(model: Any, operator: Any) -> int:
    """Return an operator's ``BuiltinOperator``; older files have it in a byte only."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def code_index(model: Any, kind: int, version: int = 1) -> int:
    """Return where an operator stands among a model's codes, after adding it or raising its version."""
    for index, code in enumerate(model.operatorCodes):
        if int(code.builtinCode) == kind:
            code.version = max(code.version, version)
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
