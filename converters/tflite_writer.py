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


def unpack(content: bytes) -> Any:
    """Return a model (``schema.ModelT``) with all its values in its tables.

    Values may lie behind the tables (``offset`` is more than 1 then: a converter does so above 2 GB, and
    litert-quantizer for any buffer above 256 KB); they are brought back into them.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def pack(model: Any) -> bytes:
    """Return the bytes of a model. What was appended to the file that it came from is not in them.

    Raises:
        ConversionError: it is too large for a FlatBuffer, whose offsets are 32 bits with a sign.
    """
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    if size >= _LIMIT - _FIRST_SIZE:
        raise ConversionError(
            f"expected a model below 2 GB, got {size / 1e9:.1f} GB of values",
            hint="quantise the weights: --recipe dynamic-int8, or --recipe float16",
        )
    builder = flatbuffers.Builder(_FIRST_SIZE)
    builder.Finish(model.Pack(builder), MAGIC)
    return bytes(builder.Output())
