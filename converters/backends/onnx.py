"""ONNX models, from ``.onnx`` files."""

from __future__ import annotations

from pathlib import Path

from converters.backends.interface import SourceModel, SourceOptions
from converters.backends.onnx_file import check_file


def open_source(path: Path, options: SourceOptions) -> SourceModel:
    """Load an ONNX model; see ``converters.backends.onnx_model.load_source`` for what it raises."""
    del options
    check_file(path)
    from converters.backends.onnx_model import load_source  # noqa: PLC0415 - ONNX Runtime and the converter

    return load_source(path)
