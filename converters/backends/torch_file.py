"""What a PyTorch program's file holds, looked at before torch reads it: its loader runs code that a file may bring.

``torch.export.load`` (2.13) unpickles weights, constants and objects that a file declares as pickled, loads compiled
libraries, evaluates expressions of sizes as Python, and finds the functions that a graph calls by their names in torch.
A program that ``torch.export.save`` writes of a plain model needs none of the first two, and little of the others.
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device_runtime.errors import ModelError
from device_runtime.files import refused

SAVE_AGAIN = 'torch.export.save(torch.export.export(model.eval(), (example,)), "model.pt2")'
_MAX_JSON_BYTES = 256 << 20
_MAX_WEIGHTS_BYTES = (1 << 31) - 1  # a FlatBuffer's end
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN = re.compile(
    r"models/model\.json|data/(weights|constants)/(weight_\d+|tensor_\d+|model_\w+_config\.json)"
    r"|data/sample_inputs/model\.pt|archive_format|archive_version|\.data/\w+|byteorder|version|extra/.*"
)
"""``data/sample_inputs/model.pt`` is a pickle too; the backend has torch read it as plain tensors or not at all."""

_TARGETS = re.compile(
    r"torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|torch\.sym_\w+|math\.(ceil|floor|trunc|sqrt)"
    r"|_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|or_|pow|rshift|sub|truediv)"
)
_SIZE_NAMES = frozenset(
    """
    Abs Add And CeilDiv CeilToInt CleanDiv Eq Equality FloatPow FloatTrueDiv Float FloorDiv FloorToInt Ge GreaterThan Gt
    Identity IntTrueDiv Integer Le LessThan Lt Max Min Mod ModularIndexing Mul Ne Not Or Piecewise Pow PowByNatural
    PythonMod Rational RoundToInt StrictGreaterThan StrictLessThan Symbol ToFloat TruncToFloat TruncToInt Unequality
    Where int_oo oo
    """.split()  # noqa: SIM905 - a name a line would be a page
)
"""What torch writes of sizes that are open: SymPy's and ``torch.utils._sympy.functions``' names."""


def check_file(path: Path) -> None:
    """Refuse a file that is no exported program, or one that would run code of its own when it is read.

    Raises:
        ModelError: with what it holds, and the way to save the model safely.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path)
    except OSError as error:
        raise refused(error, path, "read") from error
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path}: not a program of torch.export, or damaged: {error}",
            hint=f"copy it again, or save it: {SAVE_AGAIN}",
        ) from error


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    names = archive.namelist()
    if "serialized_exported_program.json" in names:
        raise _unsafe(path, "it is of torch 2.8 or older, which pickles weights")
    root = next((name.removesuffix("archive_format") for name in names if name.endswith("archive_format")), None)
    if root is None:
        raise ModelError(f"{path}: not a program of torch.export: it has no archive_format", hint=SAVE_AGAIN)
    if len({name.lower() for name in names}) != len(names):  # torch takes another than Python, and any case
        raise _unsafe(path, "two of its parts have the same name")
    strange = [name for name in names if not (name.startswith(root) and _PLAIN.fullmatch(name.removeprefix(root)))]
    if strange:
        what = "compiled code" if "aotinductor" in strange[0] else "what is no tensor"
        raise _unsafe(path, f"it holds {what}: {strange[0]}")
    size = sum(info.file_size for info in archive.infolist() if "/weight_" in info.filename)
    if size > _MAX_WEIGHTS_BYTES:
        raise ModelError(
            f"{path}: expected weights below 2 GB, got {size / 1e9:.1f} GB: a TFLite file cannot hold them",
            hint="export a smaller variant of the model",
        )
    for name in _CONFIGS:
        for weight, told in _json(archive, root + name)["config"].items():
            if told["use_pickle"]:
                raise _unsafe(path, f"{weight} is pickled")
    _check_program(_json(archive, f"{root}models/model.json"), path)


def _check_program(program: dict[str, Any], path: Path) -> None:
    for target in _values(program, "target"):
        if isinstance(target, str) and not _TARGETS.fullmatch(target):
            raise ModelError(
                f"{path}: it calls {target}; expected PyTorch's own operators (torch.ops.aten)",
                hint="leave that part out of the model, and compute it after the model",
            )
    sizes = [*_values(program, "expr_str"), *program.get("range_constraints", {})]
    for size in sizes:
        strange = _strange_name(str(size))
        if strange is not None:
            raise _unsafe(path, f'a size in it is computed by "{strange}"')


def _strange_name(expression: str) -> str | None:
    """Return what an expression uses that is no arithmetic of sizes; None when all is well."""
    for node in ast.walk(ast.parse(expression, mode="eval")):
        if isinstance(node, ast.Name):
            if node.id not in _SIZE_NAMES and not re.fullmatch(r"[a-z]+\d+", node.id):
                return node.id
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and not re.fullmatch(r"[a-z]+\d+", node.value):
                return node.value
        elif not isinstance(node, _ARITHMETIC):
            return ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
    return None


_ARITHMETIC = (
    ast.Expression, ast.Call, ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.Tuple, ast.expr_context,
    ast.operator, ast.unaryop, ast.cmpop, ast.boolop,
)  # fmt: skip


def _values(data: object, key: str) -> Iterator[Any]:
    """Yield every value that stands under ``key``, at whatever depth."""
    if isinstance(data, dict):
        for name, value in data.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(data, list):
        for value in data:
            yield from _values(value, key)


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > _MAX_JSON_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_JSON_BYTES >> 20} MB")
    return json.loads(archive.read(name))


def _unsafe(path: Path, why: str) -> ModelError:
    return ModelError(f"{path}: {why}; reading it could run code that it holds", hint=f"save it again: {SAVE_AGAIN}")
