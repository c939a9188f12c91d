"""Writes a model's description into the ``.tflite`` file itself, where other tools look for it. Child process only.

TFLite metadata (metadata_schema.fbs, file identifier M001, schema version 1.0.0; tensorflow/tflite-support), label
files appended as a ZIP archive, and the whole ModelSpec as JSON. It is the last change to a file: whatever rewrites
the FlatBuffer drops what is behind it.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.metadata import (
    AXIS_LABELS,
    BOUNDING_BOX_PROPERTIES,
    BOX_FORMATS,
    COLOURS,
    IDENTIFIER,
    IMAGE_PROPERTIES,
    METADATA_NAME,
    NORMALIZATION_OPTIONS,
    SPEC_NAME,
    VALUE_LABELS,
)
from converters.tflite_writer import pack, unpack
from device_runtime.contract.decode import encode
from device_runtime.contract.model import BoxFormat, BoxUnit, ImagePrep, ModelSpec

_PARSER_VERSION = "1.0.0"
"""min_parser_version: of the fields that are written here, none came later."""

_FEATURE_PROPERTIES = 1
_GRAYSCALE = 2
_UNKNOWN_COLOUR = 0
_NO_NAME = "???"
"""What label files of TFLite models have where a class has no name."""

_POSTPROCESS_NAMES = ("location", "category", "score", "number of detections")
"""How TFLite's task library finds the outputs of a detector."""

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest that ZIP knows: equal models give equal files."""


@dataclass(frozen=True)
class _Labels:
    """A label file of an output; ``kind`` says whether its lines name places in the tensor or values."""

    file: str
    kind: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file's content."""
        return "".join(f"{line}\n" for line in self.lines)


@dataclass(frozen=True)
class _Output:
    """What is said of an output. ``boxes`` is the order of its boxes, ``picture`` whether it is one of the input's."""

    name: str
    description: str
    labels: _Labels | None = None
    boxes: BoxFormat | None = None
    picture: bool = False


def with_metadata(content: bytes, spec: ModelSpec) -> bytes:
    """Return ``content`` with its description inside: what other tools read, and ``spec`` as it is.

    What was there before under these names is replaced, and what was appended to the file is dropped. Equal arguments
    give equal bytes.

    Raises:
        ConversionError: the model is too large to be rewritten.
    """
    outputs = _outputs(spec)
    model = unpack(content)
    named = {METADATA_NAME: _metadata(spec, outputs), SPEC_NAME: _json(spec)}
    model.metadata = [item for item in model.metadata or [] if item.name.decode("utf-8", "replace") not in named]
    for name, value in named.items():
        item, buffer = schema.MetadataT(), schema.BufferT()
        item.name, item.buffer = name.encode(), len(model.buffers)
        buffer.data = np.frombuffer(value, np.uint8)
        model.metadata.append(item)
        model.buffers.append(buffer)
    return _with_files(pack(model), outputs)


def _json(spec: ModelSpec) -> bytes:
    text = json.dumps(encode(spec), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()


def _with_files(content: bytes, outputs: Sequence[_Output]) -> bytes:
    files = [output.labels for output in outputs if output.labels]
    if not files:
        return content
    packed = io.BytesIO()
    packed.write(content)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for labels in files:
            archive.writestr(zipfile.ZipInfo(labels.file, _ZIP_TIME), labels.text)
    return packed.getvalue()


def _outputs(spec: ModelSpec) -> list[_Output]:
    names = [tensor.name for tensor in spec.outputs]
    decoder = spec.task.decoder
    if decoder == "detection-postprocess":
        said = ("boxes, as fractions of the input", "classes", "scores of the boxes", "how many boxes there are")
        return [
            _Output(
                name,
                text,
                _labels(spec, VALUE_LABELS) if index == 1 else None,
                spec.task.box_format if index == 0 else None,
            )
            for index, (name, text) in enumerate(zip(_POSTPROCESS_NAMES, said, strict=True))
        ]
    if decoder == "boxes-scores" and spec.task.box_unit is BoxUnit.FRACTION:
        return [
            _Output(names[0], "boxes, as fractions of the input", boxes=spec.task.box_format),
            _Output(names[1], "scores of the classes, for each box", _labels(spec, AXIS_LABELS)),
        ]
    if spec.task.name == "segmentation":
        kind, text = (VALUE_LABELS, "class") if decoder == "class-map" else (AXIS_LABELS, "scores of the classes")
        return [_Output(names[0], f"{text} of each pixel", _labels(spec, kind), picture=True)]
    if spec.task.name == "regression":
        return _values(spec)
    if spec.task.name in ("detection", "pose"):
        # The schema has no words for such heads, and no axis that labels would name: the ModelSpec inside tells.
        return [_Output(name, f"{decoder}, output {index}") for index, name in enumerate(names)]
    return [_Output(names[0], decoder, _labels(spec, AXIS_LABELS))]


def _labels(spec: ModelSpec, kind: int) -> _Labels | None:
    """Return the label file of the classes, or None; line i is class i, as other tools have no offset."""
    if not spec.labels:
        return None
    offset = spec.task.label_offset
    return _Labels("labels.txt", kind, (_NO_NAME,) * -offset + spec.labels[max(offset, 0) :])


def _values(spec: ModelSpec) -> list[_Output]:
    """Return the outputs of a regression; its labels name all their values, one output after the other."""
    outputs, start = [], 0
    for index, tensor in enumerate(spec.outputs):
        count = int(np.prod(tensor.shape))
        lines = spec.labels[start : start + count]
        file = "labels.txt" if len(spec.outputs) == 1 else f"labels-{index}.txt"
        outputs.append(_Output(tensor.name, "values", _Labels(file, AXIS_LABELS, lines) if lines else None))
        start += count
    return outputs


def _metadata(spec: ModelSpec, outputs: Sequence[_Output]) -> bytes:
    """Return a ModelMetadata table."""
    builder = flatbuffers.Builder(1024)
    inputs = [_input(builder, tensor.name, spec.prep) for tensor in spec.inputs]
    made = [_output(builder, output) for output in outputs]
    graph = _table(builder, {2: _vector(builder, inputs), 3: _vector(builder, made)})
    fields = {
        0: builder.CreateString(spec.name),
        1: builder.CreateString(_description(spec)),
        3: _vector(builder, [graph]),
        7: builder.CreateString(_PARSER_VERSION),
    }
    if spec.provenance is not None and spec.provenance.source_sha256:
        fields[2] = builder.CreateString(f"source sha256 {spec.provenance.source_sha256}")
    builder.Finish(_table(builder, fields), IDENTIFIER)
    return bytes(builder.Output())


def _description(spec: ModelSpec) -> str:
    made = spec.provenance
    text = f"{spec.task.name} ({spec.task.decoder})"
    return f"{text}, made from {made.source} by edgekit, recipe {made.recipe}" if made and made.source else text


def _input(builder: Any, name: str, prep: ImagePrep | None) -> int:
    if prep is None:
        return _table(builder, {0: builder.CreateString(name), 3: _content(builder, _FEATURE_PROPERTIES, {})})
    text = f"picture of {prep.width}x{prep.height} pixels, {prep.colour.value}, {prep.resize.value}"
    colours = {colour: number for number, colour in COLOURS.items()}
    size = _struct(builder, [("PrependUint32Slot", 0, prep.width), ("PrependUint32Slot", 1, prep.height)])
    # The schema has no BGR: the description tells.
    colour = colours.get(prep.colour, _UNKNOWN_COLOUR)
    properties = _struct(builder, [("PrependInt8Slot", 0, colour), ("PrependUOffsetTRelativeSlot", 1, size)])
    content = _union(builder, IMAGE_PROPERTIES, properties)
    options = _table(builder, {0: _numbers(builder, prep.mean, "f"), 1: _numbers(builder, prep.std, "f")})
    unit = _union(builder, NORMALIZATION_OPTIONS, options)
    return _table(
        builder,
        {
            0: builder.CreateString(name),
            1: builder.CreateString(text),
            3: content,
            4: _vector(builder, [unit]),
        },
    )


def _output(builder: Any, output: _Output) -> int:
    fields = {0: builder.CreateString(output.name), 1: builder.CreateString(output.description)}
    if output.boxes is not None:
        fields[3] = _boxes(builder, output.boxes)
    elif output.picture:
        fields[3] = _content(builder, IMAGE_PROPERTIES, {0: _GRAYSCALE}, (1, 2))
    else:
        fields[3] = _content(builder, _FEATURE_PROPERTIES, {})
    if output.labels is not None:
        name, text = builder.CreateString(output.labels.file), builder.CreateString("names of the classes or values")
        parts = [("PrependUOffsetTRelativeSlot", 0, name), ("PrependUOffsetTRelativeSlot", 1, text)]
        fields[6] = _vector(builder, [_struct(builder, [*parts, ("PrependInt8Slot", 2, output.labels.kind)])])
    return _table(builder, fields)


def _boxes(builder: Any, box_format: BoxFormat) -> int:
    kind, order = next(key for key, known in BOX_FORMATS.items() if known is box_format)
    index = _numbers(builder, order, "I")
    # coordinate_type (slot 2) is absent: RATIO.
    properties = _struct(builder, [("PrependUOffsetTRelativeSlot", 0, index), ("PrependInt8Slot", 1, kind)])
    return _union(builder, BOUNDING_BOX_PROPERTIES, properties, _range(builder, 2, 2))


def _content(builder: Any, kind: int, numbers: dict[int, int], dimensions: tuple[int, int] | None = None) -> int:
    properties = _struct(builder, [("PrependInt8Slot", slot, number) for slot, number in numbers.items()])
    return _union(builder, kind, properties, _range(builder, *dimensions) if dimensions else None)


def _range(builder: Any, first: int, last: int) -> int:
    return _struct(builder, [("PrependInt32Slot", 0, first), ("PrependInt32Slot", 1, last)])


def _union(builder: Any, kind: int, value: int, more: int | None = None) -> int:
    """Return a table of a union (its kind, its value), and of one more table behind them."""
    fields = [("PrependUint8Slot", 0, kind), ("PrependUOffsetTRelativeSlot", 1, value)]
    return _struct(builder, fields if more is None else [*fields, ("PrependUOffsetTRelativeSlot", 2, more)])


def _table(builder: Any, offsets: dict[int, int]) -> int:
    return _struct(builder, [("PrependUOffsetTRelativeSlot", slot, offset) for slot, offset in offsets.items()])


def _struct(builder: Any, fields: Sequence[tuple[str, int, int]]) -> int:
    """Return a table of fields: the builder's method, the slot and the value of each; 0 is every slot's default."""
    builder.StartObject(max((slot for _, slot, _ in fields), default=-1) + 1)
    for method, slot, value in fields:
        getattr(builder, method)(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _numbers(builder: Any, values: Sequence[float], kind: str) -> int:
    return int(builder.CreateNumpyVector(np.array(values, {"f": "<f4", "I": "<u4"}[kind])))
