"""TFLite metadata (schema M001): normalisation, tensor names, and the label files appended to the model as a ZIP."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from converters.flatbuffer import DamagedError, Table, root
from converters.tflite_reader import TfliteInfo
from device_runtime.contract.model import BoxFormat, Colour
from device_runtime.errors import ModelError
from device_runtime.files import refused

METADATA_NAME = "TFLITE_METADATA"
SPEC_NAME = "EDGEKIT_MODEL_SPEC"
"""The metadata entry with the whole ModelSpec as JSON, for a file that lost the one beside it."""

IDENTIFIER = b"M001"
_MAX_LABEL_BYTES = 16 << 20

# Values of unions and enums in metadata_schema.fbs (google-ai-edge/mediapipe, tensorflow/tflite-support).
NORMALIZATION_OPTIONS = 1
_SCORE_THRESHOLDING_OPTIONS = 3
IMAGE_PROPERTIES = 2
BOUNDING_BOX_PROPERTIES = 3
AXIS_LABELS = 2
VALUE_LABELS = 3
COLOURS = {1: Colour.RGB, 2: Colour.GRAY}
_DEFAULT_ORDER = (0, 1, 2, 3)
BOX_FORMATS: dict[tuple[int, tuple[int, ...]], BoxFormat] = {
    (1, _DEFAULT_ORDER): BoxFormat.XYXY,
    (1, (1, 0, 3, 2)): BoxFormat.YXYX,
    (3, _DEFAULT_ORDER): BoxFormat.CXCYWH,
}
"""BoundingBoxType (BOUNDARIES, CENTER) and where its four numbers stand in the tensor."""


@dataclass(frozen=True)
class TensorMetadata:
    """What the metadata say of one input or output.

    ``mean`` and ``std`` are in pixel units for an image input, empty where they are not given. ``label_file`` is the
    name of an associated label file, empty where there is none.
    """

    name: str = ""
    description: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    colour: Colour | None = None
    label_file: str = ""
    box_format: BoxFormat | None = None
    score_threshold: float | None = None


@dataclass(frozen=True)
class ModelMetadata:
    """What the metadata say of a model; ``inputs`` and ``outputs`` in the order of the model's tensors."""

    name: str
    description: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


def read_metadata(info: TfliteInfo, where: str) -> ModelMetadata | None:
    """Read the metadata of a model, or None when it has none.

    Raises:
        ModelError: they are damaged.
    """
    content = info.metadata.get(METADATA_NAME)
    if not content:
        return None
    try:
        return _model(root(content, IDENTIFIER))
    except DamagedError as error:
        raise ModelError(f"{where}: damaged metadata: {error}") from error


def read_label_file(path: Path, name: str) -> str:
    """Return the text of a label file that is appended to the model ``path``.

    Raises:
        ModelError: the model has no such file, or it is damaged or not UTF-8 text.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(name).file_size > _MAX_LABEL_BYTES:
                raise ModelError(f"{path}: label file {name}: expected at most {_MAX_LABEL_BYTES >> 20} MB")
            return archive.read(name).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ModelError(f"no such model: {path}") from error
    except OSError as error:
        raise refused(error, path, "read") from error
    except (KeyError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: its metadata name the label file {name}, which cannot be read: {error}",
            hint="give the labels with --labels FILE",
        ) from error


def _model(table: Table) -> ModelMetadata:
    graphs = table.tables(3)
    if not graphs:
        return ModelMetadata(table.text(0), table.text(1), (), ())
    inputs = tuple(_tensor(item) for item in graphs[0].tables(2))
    outputs = tuple(_tensor(item) for item in graphs[0].tables(3))
    return ModelMetadata(table.text(0), table.text(1), inputs, outputs)


def _tensor(table: Table) -> TensorMetadata:
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    threshold = None
    for unit in table.tables(4):
        kind, options = unit.number(0, "B"), unit.table(1)
        if options is not None and kind == NORMALIZATION_OPTIONS:
            mean, std = options.numbers(0, "f"), options.numbers(1, "f")
        elif options is not None and kind == _SCORE_THRESHOLDING_OPTIONS:
            threshold = options.real(0)
    labels = [item.text(0) for item in table.tables(6) if item.number(2, "b") in (AXIS_LABELS, VALUE_LABELS)]
    colour, box_format = _content(table.table(3))
    return TensorMetadata(
        table.text(0), table.text(1), mean, std, colour, labels[0] if labels else "", box_format, threshold
    )


def _content(content: Table | None) -> tuple[Colour | None, BoxFormat | None]:
    if content is None:
        return None, None
    kind, properties = content.number(0, "B"), content.table(1)
    if properties is None:
        return None, None
    if kind == IMAGE_PROPERTIES:
        return COLOURS.get(properties.number(0, "b")), None
    if kind == BOUNDING_BOX_PROPERTIES:
        return None, BOX_FORMATS.get((properties.number(1, "b"), properties.integers(0, "I") or _DEFAULT_ORDER))
    return None, None
