"""Plain JSON/TOML data to typed values and back, with errors that name the place, what was expected and got."""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, Union

from device_runtime.errors import BadFileError
from device_runtime.files import refused

T = TypeVar("T")
Unknown = Literal["ignore", "error"]
IN_MEMORY = "in_memory"
"""In the metadata of a dataclass field: ``encode`` leaves it out."""

_SUGGESTIONS = 20
_UNIONS = (Union, getattr(types, "UnionType", Union))  # X | None has a type of its own from Python 3.10 on


def decode(kind: type[T], data: object, where: str, *, unknown: Unknown = "ignore") -> T:
    """Make a ``kind`` from plain data (dict, list, str, int, float, bool, None).

    Args:
        kind: a dataclass, or one of the types that may be its field: an enum or a ``Literal`` of strings, ``Optional``,
            ``tuple[X, ...]``, ``dict[str, X]``, ``str``, ``int``, ``float``, ``bool``.
        data: what ``json.loads`` or ``tomllib.loads`` gave.
        where: the file, and inside it the path so far, for messages.
        unknown: what to do with keys that ``kind`` does not have: files that machines exchange ignore them (an
            older reader meets a newer writer), files that people write make them an error (a typo).

    Raises:
        BadFileError: the data does not fit.
    """
    return typing.cast("T", _value(kind, data, where, unknown))


def encode(value: object) -> Any:
    """Return the plain JSON-ready form of a dataclass, enum, path, tuple, dict or scalar."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: encode(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not field.metadata.get(IN_MEMORY)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    return value


def dumps(value: object) -> str:
    """Return the one canonical JSON text of a value: sorted keys, indented, newline at the end."""
    return json.dumps(encode(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(kind: type[T], path: Path) -> T:
    """Read a JSON file that a machine wrote.

    Raises:
        BadFileError: it is not JSON, or does not fit ``kind``.
        EdgeError: it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise refused(error, path, "read") from error
    except UnicodeDecodeError as error:
        raise BadFileError(f"{path}: expected UTF-8 text, got byte 0x{error.object[error.start]:02x}") from error
    return loads(kind, text, str(path))


def loads(kind: type[T], text: str, where: str) -> T:
    """Decode a JSON text. Raises BadFileError naming ``where``."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{where}: not JSON: {error}") from error
    return decode(kind, data, where)


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """Return ``did you mean "x"?`` for a close match, or the sorted list of what is known, cut when it is long."""
    import difflib  # noqa: PLC0415 - only for those who mistyped

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    rest = len(names) - _SUGGESTIONS
    return f"use one of: {', '.join(names[:_SUGGESTIONS])}" + (f" and {rest} more" if rest > 0 else "")


def _value(kind: Any, data: object, where: str, unknown: Unknown) -> object:
    origin = typing.get_origin(kind)
    if origin in _UNIONS:
        inner = [option for option in typing.get_args(kind) if option is not type(None)]
        return None if data is None else _value(inner[0], data, where, unknown)
    if origin is tuple:
        return _tuple(typing.get_args(kind), data, where, unknown)
    if origin is dict:
        item = typing.get_args(kind)[1]
        table = _expect(dict, data, where, "a table")
        return {key: _value(item, value, f"{where}: {key}", unknown) for key, value in table.items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast("type[Any]", kind), data, where, unknown)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(_word([str(member.value) for member in kind], data, where))
    if origin is Literal:
        return _word(typing.get_args(kind), data, where)
    return _scalar(kind, data, where)


def _dataclass(kind: type[Any], data: object, where: str, unknown: Unknown) -> object:
    table = _expect(dict, data, where, "a table")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    strange = [key for key in table if key not in fields]
    if strange and unknown == "error":
        raise BadFileError(f'{where}: unknown key "{strange[0]}"', hint=suggestion(str(strange[0]), fields))
    missing = [name for name, field in fields.items() if name not in table and _required(field)]
    if missing:
        raise BadFileError(f'{where}: key "{missing[0]}" is missing')
    values = {name: _value(hints[name], table[name], f"{where}: {name}", unknown) for name in fields if name in table}
    try:
        return kind(**values)
    except ValueError as error:
        raise BadFileError(f"{where}: {error}") from error


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _tuple(arguments: tuple[Any, ...], data: object, where: str, unknown: Unknown) -> tuple[object, ...]:
    items = _expect(list, list(data) if isinstance(data, tuple) else data, where, "a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds = [arguments[0]] * len(items)
    elif len(items) == len(arguments):
        kinds = list(arguments)
    else:
        raise BadFileError(f"{where}: expected {len(arguments)} values, got {len(items)}")
    pairs = enumerate(zip(kinds, items))
    return tuple(_value(kind, item, f"{where}[{index}]", unknown) for index, (kind, item) in pairs)


def _word(known: typing.Sequence[str], data: object, where: str) -> str:
    if isinstance(data, str) and data in known:
        return data
    raise BadFileError(f"{where}: expected one of {', '.join(known)}, got {data!r}", hint=suggestion(str(data), known))


def _scalar(kind: Any, data: object, where: str) -> object:
    if kind is Any or kind is object:
        return data
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if isinstance(data, kind) and not (isinstance(data, bool) and kind is not bool):
        return data
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    raise BadFileError(f"{where}: expected {names.get(kind, kind)}, got {data!r}")


def _expect(kind: type[T], data: object, where: str, name: str) -> T:
    if isinstance(data, kind):
        return data
    raise BadFileError(f"{where}: expected {name}, got {type(data).__name__}")
