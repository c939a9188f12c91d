"""A recipe of one's own, written as TOML: a recipe to begin with, and what is other."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from converters.recipe import Activations, Granularity, QuantRecipe, Weights, recipe_named
from device_runtime.contract.decode import decode
from device_runtime.errors import BadFileError
from device_runtime.files import refused


@dataclass(frozen=True)
class _RecipeFile:
    """The keys of a file; those that are left out are the base's."""

    base: str = "static-int8"
    name: str | None = None
    summary: str | None = None
    weights: Weights | None = None
    activations: Activations | None = None
    granularity: Granularity | None = None
    dense_granularity: Granularity | None = None
    weight_only: bool | None = None
    float_io: bool | None = None
    keep_float: tuple[str, ...] | None = None
    equalise: bool | None = None
    min_snr_db: float | None = None


def read_recipe(path: Path) -> QuantRecipe:
    """Read a recipe file; without ``name`` it is called like the file.

    Raises:
        BadFileError: it is missing, not TOML, has an unknown key, or contradicts itself.
        UsageError: its base is unknown.
    """
    try:
        told = decode(_RecipeFile, tomllib.loads(path.read_text(encoding="utf-8")), str(path), unknown="error")
    except FileNotFoundError as error:
        raise BadFileError(f"no such recipe: {path}") from error
    except OSError as error:
        raise refused(error, path, "read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFileError(f"{path}: not TOML: {error}") from error
    if Path(told.base).suffix == ".toml":
        raise BadFileError(f"{path}: base: expected a recipe's name or formula, got another file {told.base}")
    changes = {key: value for key, value in vars(told).items() if key != "base" and value is not None}
    try:
        return replace(recipe_named(told.base), **{"name": path.stem, "summary": f"of {path.name}"} | changes)
    except ValueError as error:
        raise BadFileError(f"{path}: {error}") from error
