"""Keras 3 models, from ``.keras`` and ``.h5`` files."""

from __future__ import annotations

from pathlib import Path

from converters.backends.interface import SourceModel, SourceOptions
from converters.backends.keras_archive import read_archive, require_loadable


def open_source(path: Path, options: SourceOptions) -> SourceModel:
    """Load a Keras model; what can be refused is refused before TensorFlow is imported.

    Raises:
        ModelError: it is damaged, unsafe, of another version, or no vision model.
    """
    del options
    archive = read_archive(path)
    require_loadable(archive, path)
    from converters.backends.keras_model import load_source  # noqa: PLC0415 - TensorFlow, 5 s

    return load_source(path, archive)
