"""The recipes: how weights, activations and the input are stored. docs/reference/recipes.md says which is for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError

Granularity = Literal["none", "tensor", "channel"]


@dataclass(frozen=True)
class QuantRecipe:
    """How to quantise a model.

    ``weights`` and ``activations`` are storage types, ``stored`` those that the source has already; ``granularity``
    says whether each output channel of a convolution has its own scale, ``dense_granularity`` the same for fully
    connected layers. With ``weight_only`` stored weights become floats again before they are used. With ``float_io``
    an integer model has float inputs and outputs; without, image models take camera bytes as they are.
    ``keep_float`` are patterns of what stays float: an operator (``HARD_SWISH``), or a layer's output tensor with
    ``*`` and ``?``. ``equalise`` evens out the ranges of channels across layers before anything is quantised. A
    result whose outputs have a lower signal-to-noise ratio than ``min_snr_db`` against the trained model is refused.
    """

    name: str
    summary: str
    weights: Literal["float32", "float16", "int8", "int4", "stored"]
    activations: Literal["float32", "int8", "int16"] = "float32"
    granularity: Granularity = "none"
    dense_granularity: Granularity = "none"
    weight_only: bool = False
    float_io: bool = False
    keep_float: tuple[str, ...] = ()
    equalise: bool = False
    min_snr_db: float = 40.0

    @property
    def calibrates(self) -> bool:
        """Whether ranges of activations have to be measured on samples."""
        return self.activations != "float32"

    @property
    def takes_bytes(self) -> bool:
        """Whether an image model takes camera bytes as they are."""
        return self.activations == "int8" and not self.float_io


_ALL = (
    QuantRecipe("float32", "the trained model as it is", "float32"),
    QuantRecipe("float16", "half the size, float speed, hardly any loss", "float16", min_snr_db=20.0),
    # Fully connected weights per tensor: per channel they need FULLY_CONNECTED version 12, which tflite-runtime 2.14
    # does not have (it computes something else). Depthwise weights per tensor are wrong on every engine.
    QuantRecipe(
        "dynamic-int8",
        "a quarter of the size without calibration",
        "int8",
        granularity="channel",
        dense_granularity="tensor",
        min_snr_db=3.0,
    ),
    QuantRecipe(
        "static-int8",
        "a quarter of the size, integer arithmetic; camera bytes go straight in",
        "int8",
        "int8",
        granularity="channel",
        dense_granularity="channel",
        min_snr_db=3.0,
    ),
    QuantRecipe("as-is", "a model that is quantised already: checked, described and made smaller", "stored"),
)
RECIPES = {recipe.name: recipe for recipe in _ALL}
AS_IS = RECIPES["as-is"]


def recipe_named(name: str) -> QuantRecipe:
    """Return a recipe. Raises UsageError, with the name that was probably meant, when there is none."""
    if name not in RECIPES:
        raise UsageError(f'unknown recipe "{name}"', hint=suggestion(name, RECIPES))
    return RECIPES[name]
