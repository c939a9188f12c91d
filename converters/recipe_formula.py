"""The grammar of recipes' formulas: ``wi8ct-ai8+float-io+keep:HARD_SWISH``.

    FORMULA  = WEIGHTS "-" ACTIVATIONS { "+" OPTION }
    WEIGHTS  = "wf32" | "wf16" | ( "wi8" | "wi4" ) [ "c" | "t" | "ct" | "tc" ]
    ACTIVATIONS = "af32" | "ad8" | "ai8" | "ai16"
    OPTION   = "float-io" | "equalise" | "keep:" PATTERN { "," PATTERN }

``c`` is a scale per output channel (also when nothing is said), ``t`` one per tensor; two letters are for convolutions
and for fully connected layers. ``ad8`` are float activations that each layer rounds to int8 while it runs, ``af32``
with ``wi8`` or ``wi4`` weights that become floats again before they are used. What a pattern cannot hold as it is
(``,``, ``+``, ``%``, blanks) is written as in a URL: ``%2C``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote, unquote

from converters.recipe import RECIPES, Activations, Granularity, QuantRecipe, Weights, same_storage
from device_runtime.errors import UsageError

_WEIGHTS: dict[str, Weights] = {"wf32": "float32", "wf16": "float16", "wi8": "int8", "wi4": "int4"}
_ACTIVATIONS: dict[str, Activations] = {"af32": "float32", "ad8": "float32", "ai8": "int8", "ai16": "int16"}
_GRANULARITY: dict[str, Granularity] = {"c": "channel", "t": "tensor"}
_FORMULA = re.compile(r"(wf32|wf16|wi8|wi4)([ct]{0,2})-(af32|ad8|ai8|ai16)((?:\+[^+]+)*)")
_OPTIONS = ("float-io", "equalise", "keep")
_SAFE = "/:;*?[]()=@!$&'|<>#^"
_HINT = "a formula is like wi8c-ai8, wi8ct-ad8 or wi8c-ai8+float-io+keep:HARD_SWISH; see: edgekit recipes"


def formula_of(recipe: QuantRecipe) -> str:
    """Return the formula of a recipe; ``parse_formula`` gives it back. That of a quantised source is ``as-is``."""
    if recipe.weights == "stored":
        return recipe.name
    dynamic = recipe.integer_weights and not recipe.weight_only and not recipe.calibrates
    weights = next(word for word, kind in _WEIGHTS.items() if kind == recipe.weights)
    activations = next(word for word, kind in _ACTIVATIONS.items() if kind == recipe.activations)
    letters = {kind: letter for letter, kind in _GRANULARITY.items()} | {"none": ""}
    scales = letters[recipe.granularity] + letters[recipe.dense_granularity]
    parts = [f"{weights}{scales[:1] if scales in ('cc', 'tt') else scales}-{'ad8' if dynamic else activations}"]
    parts += ["float-io"] * recipe.float_io + ["equalise"] * recipe.equalise
    if recipe.keep_float:
        parts.append("keep:" + ",".join(quote(pattern, safe=_SAFE) for pattern in recipe.keep_float))
    return "+".join(parts)


def is_formula(text: str) -> bool:
    """Tell whether a text is meant as a formula."""
    return re.match(r"w[fi]\d", text) is not None


def parse_formula(text: str) -> QuantRecipe:
    """Return the recipe of a formula; it has the name and the threshold of a recipe of the table that is the same.

    Raises:
        UsageError: it is not one, or its parts contradict each other.
    """
    found = _FORMULA.fullmatch(text)
    if found is None:
        raise UsageError(f'not a formula: "{text}"', hint=_HINT)
    weights, scales, activations, options = found.groups()
    integer = weights in ("wi8", "wi4")
    told = _options(text, options)
    letters = (scales or "c") * 2 if integer else scales * 2
    try:
        recipe = QuantRecipe(
            text,
            "",
            _WEIGHTS[weights],
            _ACTIVATIONS[activations],
            _GRANULARITY[letters[0]] if letters else "none",
            _GRANULARITY[letters[1]] if letters else "none",
            weight_only=integer and activations == "af32",
            float_io="float-io" in told,
            equalise="equalise" in told,
            keep_float=tuple(unquote(pattern) for pattern in told.get("keep", "").split(",") if pattern),
            min_snr_db=_threshold(weights, activations),
        )
    except ValueError as error:
        raise UsageError(str(error), hint=_HINT) from error
    if activations == "ad8" and not integer:
        raise UsageError(f"recipe {text}: ad8 goes with wi8 or wi4 weights", hint=_HINT)
    return next((known for known in RECIPES.values() if same_storage(known, recipe)), recipe)


def variant(recipe: QuantRecipe, **changes: object) -> QuantRecipe:
    """Return a recipe with other options, called by its formula."""
    changed = replace(recipe, **changes)  # type: ignore[arg-type]  # checked by the recipe itself
    return replace(changed, name=formula_of(changed))


def _options(text: str, options: str) -> dict[str, str]:
    """Return the options by their words, with what stands behind the colon."""
    found: dict[str, str] = {}
    for option in options.split("+")[1:]:
        word, _, value = option.partition(":")
        if word not in _OPTIONS or word in found or bool(value) != (word == "keep"):
            raise UsageError(f'recipe {text}: cannot read "+{option}"', hint=_HINT)
        found[word] = value
    return found


def _threshold(weights: str, activations: str) -> float:
    """Return the threshold of the recipe of the table that is stored most like this."""
    kind = (_WEIGHTS[weights], _ACTIVATIONS[activations], weights in ("wi8", "wi4") and activations == "af32")
    alike = [known for known in RECIPES.values() if (known.weights, known.activations, known.weight_only) == kind]
    return min((known.min_snr_db for known in alike), default=3.0)
