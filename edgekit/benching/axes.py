"""What a sweep varies: words as ``threads=1,2`` and ``recipe=static-int8,float16``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from converters.recipe import RECIPES, recipe_named
from converters.recipe_formula import is_formula
from device_runtime.contract.decode import suggestion
from device_runtime.engine.litert import DELEGATES, ENGINES
from device_runtime.errors import UsageError
from edgekit.benching.sweep_report import AXES, Axis, Setting

MOST_POINTS = 200
"""More are a mistake: each takes half a minute as a rule."""

_MOST_THREADS = 256
_EXAMPLE = "--sweep threads=1,2 --sweep recipe=static-int8,float16"


@dataclass(frozen=True)
class Axes:
    """The values of each axis in the order in which they were given; an axis without values does not vary.

    ``sizes`` are (height, width) in px.
    """

    recipes: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    engines: tuple[str, ...] = ()
    delegates: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()

    def settings(self, usual: Setting) -> tuple[Setting, ...]:
        """Return all combinations; what does not vary is as in ``usual``.

        Raises:
            UsageError: they are more than ``MOST_POINTS``.
        """
        found = tuple(
            Setting(*values)
            for values in itertools.product(
                self.recipes or (usual.recipe,),
                self.sizes or (usual.input_size,),
                self.engines or (usual.engine,),
                self.delegates or (usual.delegate,),
                self.threads or (usual.threads,),
            )
        )
        if len(found) > MOST_POINTS:
            raise UsageError(f"--sweep: expected at most {MOST_POINTS} points, got {len(found)}", hint="leave some out")
        return found

    def told(self) -> tuple[Axis, ...]:
        """Return the axes that vary, in the order of ``AXES``, with their values as they are written."""
        sizes = tuple(f"{height}x{width}" for height, width in self.sizes)
        values = (self.recipes, sizes, self.engines, self.delegates, tuple(str(count) for count in self.threads))
        return tuple(Axis(name, each) for name, each in zip(AXES, values, strict=True) if each)


def parse_axes(words: Sequence[str]) -> Axes:
    """Read what is to vary; an axis that is named twice has the values of both.

    Args:
        words: each an axis, ``=``, and its values with commas between them.

    Raises:
        UsageError: an axis or a value is unknown, or there is none; the hint has what was probably meant.
        BadFileError: a recipe's file is missing, or not a recipe.
    """
    given: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in AXES:
            raise UsageError(f'--sweep: unknown axis "{name}"', hint=suggestion(name, AXES))
        values = [value.strip() for value in _parts(name, text)]
        if not equals or not all(values):
            raise UsageError(f'--sweep {name}: expected values with commas between them, got "{word}"', hint=_EXAMPLE)
        given.setdefault(name, []).extend(values)
    if not given:
        raise UsageError("--sweep: expected something to vary, got nothing", hint=_EXAMPLE)
    # dict: the same value twice is one, and the order stays.
    recipes, sizes, engines, delegates, threads = (tuple(dict.fromkeys(given.get(name, ()))) for name in AXES)
    return Axes(
        tuple(_recipe(each) for each in recipes),
        tuple(dict.fromkeys(_size(each) for each in sizes)),
        tuple(_one_of("engine", each, tuple(ENGINES)) for each in engines),
        tuple(_one_of("delegate", each, DELEGATES[1:]) for each in delegates),
        tuple(dict.fromkeys(_threads(each) for each in threads)),
    )


def _parts(axis: str, text: str) -> list[str]:
    """Split at commas, but for those between the patterns of a recipe's formula."""
    parts: list[str] = []
    for part in text.split(","):
        if axis == "recipe" and parts and "keep:" in parts[-1] and not _begins_recipe(part.strip()):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _begins_recipe(text: str) -> bool:
    return text in RECIPES or text.endswith(".toml") or is_formula(text)


def _recipe(text: str) -> str:
    if text == "auto":
        raise UsageError(
            "--sweep recipe: expected recipes by name, got auto, which searches for one",
            hint=f"name them: --sweep recipe=static-int8,float16; or search: edgekit convert --recipe {text}",
        )
    alike = [name for name in RECIPES if name.endswith(f"-{text}")]
    if text not in RECIPES and alike:
        raise UsageError(f'--sweep recipe: "{text}" is no recipe', hint=f"use one of: {', '.join(alike)}")
    recipe_named(text)
    return text


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", text)
    if found is None:
        raise UsageError(f'--sweep size: expected HEIGHTxWIDTH in pixels, got "{text}"', hint="--sweep size=96x96")
    return int(found[1]), int(found[2])


def _one_of(axis: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise UsageError(f'--sweep {axis}: expected {" or ".join(known)}, got "{text}"', hint=suggestion(text, known))
    return text


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_THREADS):
        raise UsageError(
            f'--sweep threads: expected whole numbers from 1 to {_MOST_THREADS}, got "{text}"',
            hint="--sweep threads=1,2,4",
        )
    return int(text)
