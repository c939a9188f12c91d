"""The recipes: how weights, activations and the input are stored. docs/reference/recipes.md says which is for what."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError

Granularity = Literal["none", "tensor", "channel"]
Weights = Literal["float32", "float16", "int8", "int4", "stored"]
Activations = Literal["float32", "int8", "int16"]


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
    weights: Weights
    activations: Activations = "float32"
    granularity: Granularity = "none"
    dense_granularity: Granularity = "none"
    weight_only: bool = False
    float_io: bool = False
    keep_float: tuple[str, ...] = ()
    equalise: bool = False
    min_snr_db: float = 40.0

    def __post_init__(self) -> None:
        problem = _contradiction(self)
        if problem:
            raise ValueError(f"recipe {self.name}: {problem}")

    @property
    def calibrates(self) -> bool:
        """Whether ranges of activations have to be measured on samples."""
        return self.activations != "float32"

    @property
    def takes_bytes(self) -> bool:
        """Whether an image model takes camera bytes as they are."""
        return self.activations == "int8" and not self.float_io

    @property
    def integer_weights(self) -> bool:
        """Whether weights are stored as whole numbers with a scale."""
        return self.weights in ("int8", "int4")


def _contradiction(recipe: QuantRecipe) -> str:
    """Return what is wrong with a recipe, empty when nothing is."""
    scaled = recipe.granularity != "none", recipe.dense_granularity != "none"
    if recipe.integer_weights and not all(scaled):
        return f"{recipe.weights} weights need a granularity, tensor or channel, also for fully connected layers"
    if not recipe.integer_weights and any(scaled):
        return f"{recipe.weights} weights have no granularity"
    if recipe.calibrates and not recipe.integer_weights:
        return f"{recipe.activations} activations need int8 or int4 weights, got {recipe.weights}"
    if recipe.weight_only and (recipe.calibrates or not recipe.integer_weights):
        return "weight_only goes with int8 or int4 weights and float32 activations"
    if recipe.float_io and not recipe.calibrates:
        return "float_io is for recipes with int8 or int16 activations: others have float inputs anyway"
    if recipe.weights == "stored" and (recipe.keep_float or recipe.equalise):
        return "a model that is quantised already is left as it is"
    return ""


_ALL = (
    QuantRecipe("float32", "a reference to compare with: the trained model as it is", "float32"),
    QuantRecipe("float16", "half the size when int8 costs too much accuracy; float speed", "float16", min_snr_db=20.0),
    # Fully connected weights per tensor: per channel they need FULLY_CONNECTED version 12, which tflite-runtime 2.14
    # does not have (it computes something else). Depthwise weights per tensor are wrong on every engine.
    QuantRecipe(
        "dynamic-int8",
        "a quarter of the size without calibration; slow for convolutions on XNNPACK",
        "int8",
        granularity="channel",
        dense_granularity="tensor",
        min_snr_db=3.0,
    ),
    QuantRecipe(
        "static-int8",
        "a quarter of the size, integer arithmetic; camera bytes go straight in: the default",
        "int8",
        "int8",
        granularity="channel",
        dense_granularity="channel",
        min_snr_db=3.0,
    ),
    QuantRecipe(
        "weight-only-int8",
        "a quarter of the size at float speed and nearly float accuracy, without calibration",
        "int8",
        granularity="channel",
        dense_granularity="channel",
        weight_only=True,
        min_snr_db=10.0,
    ),
    QuantRecipe(
        "int16x8",
        "integer arithmetic where int8 activations cost too much accuracy; many times slower",
        "int8",
        "int16",
        granularity="channel",
        dense_granularity="channel",
        min_snr_db=10.0,
    ),
    QuantRecipe(
        "weight-only-int4",
        "the smallest file, for models that are mostly pointwise and dense layers; float speed",
        "int4",
        granularity="channel",
        dense_granularity="channel",
        weight_only=True,
        min_snr_db=3.0,
    ),
    QuantRecipe(
        "dynamic-int4",
        "the smallest file without calibration, for models that are mostly dense layers",
        "int4",
        granularity="channel",
        dense_granularity="channel",
        min_snr_db=3.0,
    ),
    QuantRecipe(
        "static-int4",
        "integer arithmetic with half the weights' size of static-int8",
        "int4",
        "int8",
        granularity="channel",
        dense_granularity="channel",
        min_snr_db=3.0,
    ),
    # What it is compared with is the file itself, on the preferred engine; another one's integer kernels round
    # otherwise (measured: 9.8 dB at the boxes of an SSD, with every object found).
    QuantRecipe(
        "as-is", "a model that is quantised already: checked, described and made smaller", "stored", min_snr_db=3.0
    ),
)
RECIPES = {recipe.name: recipe for recipe in _ALL}
AS_IS = RECIPES["as-is"]


def recipe_named(text: str) -> QuantRecipe:
    """Return a recipe by its name (``static-int8``), its formula (``wi8c-ai8+float-io``) or its ``.toml`` file.

    Raises:
        UsageError: there is no such recipe; the hint has the name that was probably meant.
        BadFileError: the file is missing, or not a recipe.
    """
    from converters.recipe_file import read_recipe  # noqa: PLC0415 - these two build on the table above
    from converters.recipe_formula import is_formula, parse_formula  # noqa: PLC0415

    if text in RECIPES:
        return RECIPES[text]
    if Path(text).suffix == ".toml":
        return read_recipe(Path(text))
    if is_formula(text):
        return parse_formula(text)
    raise UsageError(f'unknown recipe "{text}"', hint=suggestion(text, RECIPES))


def same_storage(one: QuantRecipe, two: QuantRecipe) -> bool:
    """Tell whether two recipes store a model alike, whatever they are called."""
    return replace(one, name="", summary="", min_snr_db=0.0) == replace(two, name="", summary="", min_snr_db=0.0)
