"""What is true of recipes: where their models run, how large they are. Each line is held by a test on both engines."""

from __future__ import annotations

from converters.recipe import QuantRecipe

LITERT, TFLITE_RUNTIME = "litert", "tflite-runtime"

_SIZE = {"float32": 1.0, "float16": 0.5, "int8": 0.25, "int4": 0.125, "stored": 1.0}


def runs_on(recipe: QuantRecipe) -> tuple[str, ...]:
    """Return the engines that run what a recipe makes of any model; a certain model may run on more."""
    return (LITERT,) if limits_of(recipe) else (LITERT, TFLITE_RUNTIME)


def limits_of(recipe: QuantRecipe) -> str:
    """Return why tflite-runtime 2.14 does not run what a recipe makes, empty when it does."""
    if recipe.weights == "int4":
        return "tflite-runtime 2.14 has no kernels for int4"
    dynamic = recipe.integer_weights and not recipe.weight_only and not recipe.calibrates
    if dynamic and recipe.dense_granularity == "channel":
        return "tflite-runtime 2.14 has no FULLY_CONNECTED with float activations and a scale per channel (version 12)"
    return ""


def size_factor(recipe: QuantRecipe) -> float:
    """Return the size of weights as a share of float32's; depthwise weights of an int4 recipe stay int8."""
    return _SIZE[recipe.weights]
