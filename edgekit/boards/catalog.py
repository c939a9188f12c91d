"""The catalogue of boards: ``catalog.toml`` beside this file."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from device_runtime.contract.decode import decode, suggestion
from device_runtime.contract.manifest import ANY, SystemPackage
from device_runtime.errors import UsageError

Packages = Literal["bundle", "system", "present"]


@dataclass(frozen=True)
class System:
    """What a board runs; what the fields mean is written in ``catalog.toml``."""

    title: str
    machine: str = ANY
    python: str = ANY
    glibc: str = ""
    engine: str = ""
    packages: Packages = "bundle"
    system_packages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """A kind of board with its system; what the fields mean is written in ``catalog.toml``."""

    id: str
    title: str
    system: str
    machine: str
    python: str
    glibc: str
    engine: str
    packages: Packages
    system_packages: tuple[SystemPackage, ...]
    memory_bytes: int


@dataclass(frozen=True)
class _Kind:
    """A board as the file has it."""

    title: str
    system: str
    memory_bytes: int


@dataclass(frozen=True)
class _Catalog:
    """The whole file."""

    systems: dict[str, System]
    boards: dict[str, _Kind]


@functools.cache
def load_catalog() -> dict[str, Board]:
    """Return all boards by their ids."""
    text = resources.files("edgekit.boards").joinpath("catalog.toml").read_text(encoding="utf-8")
    catalog = decode(_Catalog, tomllib.loads(text), "catalog.toml", unknown="error")
    return {name: _board(name, kind, catalog.systems[kind.system]) for name, kind in catalog.boards.items()}


def find_boards(names: tuple[str, ...]) -> tuple[Board, ...]:
    """Return the boards with these ids. Raises UsageError for an id that the catalogue does not have."""
    catalog = load_catalog()
    for name in names:
        if name not in catalog:
            raise UsageError(f'no board "{name}"', hint=suggestion(name, catalog))
    return tuple(catalog[name] for name in names)


def _board(name: str, kind: _Kind, system: System) -> Board:
    return Board(
        name,
        kind.title,
        system.title,
        system.machine,
        system.python,
        system.glibc,
        system.engine,
        system.packages,
        tuple(SystemPackage(module, package) for module, package in system.system_packages.items()),
        kind.memory_bytes,
    )
