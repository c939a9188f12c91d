"""PyTorch models: programs of ``torch.export`` from ``.pt2`` files, and functions that make a module."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from converters.backends.interface import SourceModel, SourceOptions
from converters.backends.torch_file import SAVE_AGAIN, check_file
from device_runtime.errors import ModelError, UsageError


def open_source(path: Path, options: SourceOptions) -> SourceModel:
    """Load an exported program.

    Raises:
        ModelError: it is damaged, unsafe to read, too large, or cannot be converted.
    """
    del options
    check_file(path)
    # The pickle of its example inputs, which check_file cannot judge, is read as plain tensors or not at all.
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    import torch  # noqa: PLC0415 - 3 s, after what can be refused without it

    from converters.backends.torch_model import TorchSource, first_line  # noqa: PLC0415

    try:
        program = torch.export.load(path)
    except Exception as error:  # torch raises whatever its deserialiser meets
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot read it: {first_line(error)}",
            hint=f"save it again: {SAVE_AGAIN}",
        ) from error
    return TorchSource(str(path), program)


def open_function(path: Path, options: SourceOptions) -> SourceModel:
    """Export the module that ``module:function`` returns; the module is one of the current folder.

    Raises:
        UsageError: there is no such function, or no shape of an example input is given.
        ModelError: it fails, returns something else, or cannot be exported.
    """
    where = str(path)
    if not options.input_shapes:
        raise UsageError(
            f"{where}: a function does not tell the shape of the model's input",
            hint="say it, as PyTorch has it: --input-shape 1x3x224x224, once for each input",
        )
    sys.path.insert(0, str(Path.cwd()))
    import torch  # noqa: PLC0415 - 3 s

    from converters.backends.torch_model import TorchSource, first_line  # noqa: PLC0415

    module = _module(where, torch.nn.Module)
    examples = tuple(torch.zeros(shape) for shape in options.input_shapes)
    try:
        program = torch.export.export(module.float().eval(), examples, strict=False)
    except Exception as error:  # whatever the module's own code raises, and torch
        shapes = ", ".join("x".join(map(str, shape)) for shape in options.input_shapes)
        raise ModelError(
            f"{where}: torch.export cannot export it with inputs of {shapes}: {first_line(error)}",
            hint="see whether the shapes are right: --input-shape, channels first as PyTorch has them",
        ) from error
    return TorchSource(where, program)


def _module(where: str, kind: type) -> Any:
    """Import and call what ``module:function`` names."""
    name, _, attribute = where.partition(":")
    try:
        found = getattr(importlib.import_module(name), attribute, None)
        made = found() if callable(found) and not isinstance(found, kind) else found
    except ModuleNotFoundError as error:
        raise _missing(where, name, error) from error
    except Exception as error:  # it is the user's code
        raise ModelError(
            f"{where}: it fails with {type(error).__name__}: {error}", hint=f'try it: python -c "import {name}"'
        ) from error
    if found is None:
        raise UsageError(f"{where}: {name} has no {attribute}", hint=f"see what it has: grep -n def {name}.py")
    if not isinstance(made, kind):
        raise ModelError(
            f"{where}: expected a torch.nn.Module, got {type(made).__name__}",
            hint="name a function without arguments that returns the trained module",
        )
    return made


def _missing(where: str, name: str, error: ModuleNotFoundError) -> Exception:
    missing = error.name or ""
    if missing == name or name.startswith(f"{missing}."):
        return UsageError(f"{where}: no module {missing} in {Path.cwd()}", hint="run it where that module is")
    return ModelError(
        f"{where}: it imports {missing}, which is not in the environment that reads PyTorch programs",
        hint=f"where it is installed: {SAVE_AGAIN}, then convert that file",
    )
