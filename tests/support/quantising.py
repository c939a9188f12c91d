"""A recipe applied to a float TFLite model, by the child process that always does it."""

import contextlib

from converters.jobs import Calibrate, Done, Quantise, Tidy
from converters.process import open_worker
from converters.recipe import QuantRecipe, recipe_named
from device_runtime.contract.events import silent


def quantise(
    source, target, recipe, samples, prep, *, encoding=None, inputs=("image",), outputs=("scores",), order=(0,),
    worker=None,
):  # fmt: skip
    """Tidy, calibrate where the recipe needs it, and quantise; return ``target``. ``samples`` are paths.

    ``worker`` is a child process that lives longer; without one, this starts its own.
    """
    recipe = recipe if isinstance(recipe, QuantRecipe) else recipe_named(recipe)
    tidied, ranges = target.with_suffix(".tidy"), target.with_suffix(".npz")
    with contextlib.nullcontext(worker) if worker else open_worker(target.parent, silent) as child:
        child.call(Tidy(str(source), str(tidied), inputs, outputs, order), Done, "tidy")
        if recipe.calibrates:
            files = tuple(str(path) for path in samples)
            child.call(Calibrate(str(tidied), str(ranges), files, prep), Done, "calibrate")
        known = str(ranges) if recipe.calibrates else ""
        own = encoding if recipe.takes_bytes else None
        child.call(Quantise(str(tidied), str(target), recipe, known, own), Done, "quantise")
    return target
