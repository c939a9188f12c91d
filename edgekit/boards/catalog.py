"""The catalogue of boards: ``catalog.toml`` beside this file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from device_runtime.contract.decode import decode, suggestion
from device_runtime.errors import UsageError


@dataclass(frozen=True)
class Board:
    """A kind of board; what the fields mean is written in ``catalog.toml``."""

    title: str
    machine: str
    python: str
    glibc: str = ""


def load_catalog() -> dict[str, Board]:
    """Return all boards by their ids."""
    text = resources.files("edgekit.boards").joinpath("catalog.toml").read_text(encoding="utf-8")
    return decode(dict[str, Board], tomllib.loads(text), "catalog.toml", unknown="error")


def find_boards(names: tuple[str, ...]) -> tuple[Board, ...]:
    """Return the boards with these ids. Raises UsageError for an id that the catalogue does not have."""
    catalog = load_catalog()
    for name in names:
        if name not in catalog:
            raise UsageError(f'no board "{name}"', hint=suggestion(name, catalog))
    return tuple(catalog[name] for name in names)
