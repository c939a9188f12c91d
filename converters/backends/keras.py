"""Keras models, from ``.keras`` and ``.h5`` files: of Keras 3, and of Keras 2 by ``tf_keras``."""

from __future__ import annotations

import importlib
from pathlib import Path

from converters.backends.interface import SourceModel, SourceOptions
from converters.backends.keras_archive import read_archive, require_loadable


def open_source(path: Path, options: SourceOptions) -> SourceModel:
    """Load a Keras model; what can be refused is refused before TensorFlow is imported.

    Raises:
        ModelError: it is damaged, unsafe, too large, or cannot be converted.
    """
    del options
    archive = read_archive(path)
    require_loadable(archive, path)
    from converters.backends.keras_model import load_source  # noqa: PLC0415 - TensorFlow, 5 s

    return load_source(importlib.import_module("tf_keras" if archive.major < 3 else "keras"), path, archive)
