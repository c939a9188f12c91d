"""Changes single values of ``edgekit.toml``, and leaves all other lines, comments and their order as they are."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_runtime.contract.decode import decode
from device_runtime.errors import BadFileError
from device_runtime.files import refused, write_bytes
from edgekit.project.config import ProjectFile

Value = str | int | tuple[int, ...] | tuple[str, ...]

_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]#]+?)\s*\]\]?\s*(?:#.*)?")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Change:
    """A value of the file that became another one; ``before`` is None where there was none."""

    table: str
    key: str
    before: Value | None
    after: Value

    def __str__(self) -> str:
        was = "not set" if self.before is None else written(self.before)
        return f"[{self.table}] {self.key}: {was} → {written(self.after)}"


def change_project(path: Path, values: Mapping[tuple[str, str], Value]) -> tuple[Change, ...]:
    """Give a project file these values, by table and key, and return what that changed.

    The file is written whole or not at all.

    Raises:
        BadFileError: the file is damaged, is not a project file with these values, or is written in a way in which
            they cannot be changed without touching the rest: the hint has them to be written by hand.
        EdgeError: it cannot be read or written.
    """
    target = path.resolve()  # a link to the file stays one
    try:
        text = target.read_bytes().decode("utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise refused(error, path, "read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFileError(f"{path}: not TOML: {error}") from error
    decode(ProjectFile, data, str(path), unknown="error")
    changes = _changes(data, values)
    if changes:
        edited = with_changes(text, changes, str(path))
        decode(ProjectFile, tomllib.loads(edited), str(path), unknown="error")
        write_bytes(target, edited.encode())
    return changes


def with_changes(text: str, changes: tuple[Change, ...], where: str) -> str:
    """Return the text of a TOML file with some values changed.

    Raises:
        BadFileError: that is not possible line by line: a value over several lines, an inline table, dotted keys.
    """
    wanted = copy.deepcopy(tomllib.loads(text))
    edited = text
    for change in changes:
        wanted.setdefault(change.table, {})[change.key] = _plain(change.after)
        edited = _with_change(edited, change)
    try:
        same = tomllib.loads(edited) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        told = "; ".join(f"[{each.table}] {each.key} = {written(each.after)}" for each in changes)
        raise BadFileError(
            f"{where}: its values are written in a way that cannot be changed without touching the rest",
            hint=f"write them yourself: {told}",
        )
    return edited


def written(value: Value) -> str:
    """Return a value as TOML has it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(written(item) for item in value)}]"
    # TOML's basic strings know all escapes of JSON's, but want one for DEL, too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _changes(data: Mapping[str, Any], values: Mapping[tuple[str, str], Value]) -> tuple[Change, ...]:
    found = []
    for (table, key), value in values.items():
        there = data.get(table, {})
        before = there.get(key) if isinstance(there, dict) else None
        if before != _plain(value):
            found.append(Change(table, key, before, value))
    return tuple(found)


def _plain(value: Value) -> object:
    return list(value) if isinstance(value, tuple) else value


def _with_change(text: str, change: Change) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = _LINES.findall(text)
    line = f"{change.key} = {written(change.after)}{newline}"
    start, end = _section(lines, change.table)
    if start is None:
        gap = newline if text.strip() else ""
        return f"{_ended(text, newline)}{gap}[{change.table}]{newline}{line}"
    key = re.compile(rf'\s*(?:{re.escape(change.key)}|"{re.escape(change.key)}")\s*=\s*')
    for place in range(start + 1, end):
        found = key.match(lines[place])
        if found:
            rest = lines[place][found.end() :]
            bare = rest.rstrip("\r\n")
            lines[place] = found[0] + _replaced(bare, written(change.after)) + rest[len(bare) :]
            return "".join(lines)
    last = max(place for place in range(start, end) if place == start or _says_something(lines[place]))
    return "".join([*lines[:last], _ended(lines[last], newline), line, *lines[last + 1 :]])


def _ended(text: str, newline: str) -> str:
    return text if not text or text.endswith("\n") else text + newline


def _section(lines: list[str], table: str) -> tuple[int | None, int]:
    """Return the line of a table's header, and the one behind its last; no header is None."""
    start = None
    for place, line in enumerate(lines):
        found = _HEADER.fullmatch(line.rstrip("\r\n"))
        if found is None:
            continue
        if start is not None:
            return start, place
        if found[1] == table and not line.lstrip().startswith("[["):
            start = place
    return start, len(lines)


def _replaced(rest: str, value: str) -> str:
    """Put a value in place of the one that ``rest`` begins with; a comment behind it stays, in its column if it can."""
    for end in [place for place, sign in enumerate(rest) if sign == "#"]:
        try:
            tomllib.loads(f"x = {rest[:end]}")
        except tomllib.TOMLDecodeError:
            continue  # that sign is inside of a text
        room = len(rest[:end])
        return f"{value.ljust(room)}{'' if len(value) < room else '  '}{rest[end:]}"
    return value


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")
