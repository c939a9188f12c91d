"""Which backend reads which source, by suffix: the builtin ones, and those that other packages register."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from converters.backends.interface import SourceOpener
from converters.environments.catalog import ENVIRONMENTS, Environment
from device_runtime.contract.decode import suggestion
from device_runtime.errors import ModelError, UsageError

GROUP = "edgekit.backends"
"""Entry points of this group add backends: the name is the suffix without its dot, the object a ``SourceOpener``."""


@dataclass(frozen=True)
class Backend:
    """Where a kind of source is read: ``opener`` is ``module:attribute``, ``environment`` one's name or empty.

    ``check`` is a function, ``module:attribute``, that looks at the file with the standard library alone and refuses
    what no framework needs to be started for.
    """

    opener: str
    environment: str = ""
    check: str = ""


FUNCTION = Backend("converters.backends.torch_program:open_function", "torch")
"""Reads ``module:function``: a function of the current folder that returns a PyTorch module."""

SAVED_MODEL = Backend("converters.backends.saved_model:open_source")
"""Reads a folder with a ``saved_model.pb``."""

BUILTIN = {
    ".keras": Backend("converters.backends.keras:open_source"),
    ".h5": Backend("converters.backends.keras:open_source"),
    ".tflite": Backend("converters.backends.tflite:open_source"),
    ".onnx": Backend("converters.backends.onnx:open_source", "onnx", "converters.backends.onnx_file:check_file"),
    ".pt2": Backend(
        "converters.backends.torch_program:open_source", "torch", "converters.backends.torch_file:check_file"
    ),
}

_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def backends() -> dict[str, Backend]:
    """Return the backend of every known suffix; nothing is imported."""
    registered = {f".{point.name.lower()}": Backend(point.value) for point in entry_points(group=GROUP)}
    return {**registered, **BUILTIN}


def backend_for(source: Path) -> str:
    """Return the backend that reads ``source``, as ``module:attribute``.

    Raises:
        UsageError: no backend reads it.
    """
    return _backend(source).opener


def environment_for(source: Path) -> Environment | None:
    """Return the environment in which ``source`` is read, None for this one. Raises UsageError as ``backend_for``."""
    name = _backend(source).environment
    return ENVIRONMENTS[name] if name else None


def check_source(source: Path) -> None:
    """Look at a source before a framework is started, or an environment made, for it.

    Raises:
        UsageError: no backend reads it.
        ModelError: it is not there, or not what its suffix says.
    """
    backend = _backend(source)
    if backend is FUNCTION:
        return
    if not source.exists():
        raise ModelError(f"no such model: {source}")
    if backend.check:
        _load(backend.check)(source)


def is_function(source: Path) -> bool:
    """Whether a source is ``module:function`` rather than a file."""
    return _FUNCTION.fullmatch(str(source)) is not None and not source.exists()


def load_opener(backend: str) -> SourceOpener:
    """Import a backend, in the child process."""
    opener: SourceOpener = _load(backend)
    return opener


def _backend(source: Path) -> Backend:
    if is_function(source):
        return FUNCTION
    if source.is_dir():
        if (source / "saved_model.pb").is_file():
            return SAVED_MODEL
        raise UsageError(
            f"{source}: expected a model, got a folder without saved_model.pb",
            hint="name the model's file, or the folder of a SavedModel",
        )
    known = backends()
    suffix = source.suffix.lower()
    if suffix in known:
        return known[suffix]
    if suffix in _PICKLES:
        raise UsageError(
            f"{source}: {suffix} files are pickles, which run whatever code they hold when they are read",
            hint="where the model was trained: "
            'torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")',
        )
    got = f'a file that ends in "{source.suffix}"' if source.suffix else "a file without a suffix"
    raise UsageError(f"{source}: no backend reads {got}", hint=suggestion(suffix, known))


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)
