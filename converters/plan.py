"""Decides, from what a trained model is and what the user says, how it is exported and what its ModelSpec states."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from converters.backends.interface import ExportPlan, LeadingLayers, SourceFacts
from converters.interface import ConvertRequest, PrepOptions
from converters.jobs import InputEncoding
from converters.normalise import Normalisation, format_normalise
from converters.prep import NORMALISE_HINT, image_size, make_prep
from converters.recipe import QuantRecipe
from converters.tasks import OutputFacts, fitting_labels, plan_task
from device_runtime.contract.model import ImagePrep, TaskSpec
from device_runtime.errors import UsageError

_PIXELS: Normalisation = ((0.0,), (1.0,))


@dataclass(frozen=True)
class ConversionPlan:
    """How to convert one model.

    ``source_prep`` is what the trained model takes, ``float_prep`` what the exported float model takes, ``prep`` what
    the converted file takes; they differ in mean and std only. ``order`` puts the outputs as the decoder wants them.
    """

    source_prep: ImagePrep
    export: ExportPlan
    float_prep: ImagePrep
    encoding: InputEncoding | None
    prep: ImagePrep
    task: TaskSpec
    outputs: tuple[OutputFacts, ...]
    order: tuple[int, ...]
    labels: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def plan_conversion(facts: SourceFacts, request: ConvertRequest, recipe: QuantRecipe) -> ConversionPlan:
    """Decide everything before work begins.

    Raises:
        UsageError: something cannot be known, and the message names the option that tells it.
        BadFileError: the label file does not fit.
    """
    where = str(request.source)
    size = _size(facts, request)
    told = plan_task(facts.outputs, request.task, where)
    outputs = tuple(facts.outputs[index] for index in told.order)
    labels = fitting_labels(request.labels, [output.shape for output in outputs], told.task)
    normalisation, warnings = _source_normalisation(facts, request.prep, where)
    source_prep = make_prep(size, request.prep, normalisation, where)
    plan = ExportPlan(size[0], size[1])
    float_prep, encoding, prep = source_prep, None, source_prep
    if recipe.input == "uint8":
        inner = _inner_normalisation(facts.leading, normalisation)
        plan = replace(plan, bare=inner is not None)
        plan, float_prep, encoding = _byte_input(plan, replace_normalisation(source_prep, inner or normalisation))
        prep = replace_normalisation(source_prep, ((float(encoding.zero_point),), (1.0 / encoding.scale,)))
    return ConversionPlan(
        source_prep, plan, float_prep, encoding, prep, told.task, outputs, told.order, labels, warnings
    )


def fold(prep: ImagePrep) -> InputEncoding | None:
    """Return the scale and zero point that make a byte mean ``(byte - mean) / std``.

    ``scale * (byte - zero_point)`` is that exactly when the mean is a whole number, and within half a step of 1/std
    otherwise. None when channels differ, or when the mean is no byte.
    """
    if len(set(prep.mean)) != 1 or len(set(prep.std)) != 1:
        return None
    zero_point = math.floor(prep.mean[0] + 0.5)
    return InputEncoding(1.0 / prep.std[0], zero_point) if 0 <= zero_point <= 255 else None


def replace_normalisation(prep: ImagePrep, normalisation: Normalisation) -> ImagePrep:
    """Return ``prep`` with another mean and std."""
    return replace(prep, mean=normalisation[0], std=normalisation[1])


def _byte_input(plan: ExportPlan, prep: ImagePrep) -> tuple[ExportPlan, ImagePrep, InputEncoding]:
    """Fold the normalisation into the input's scale; where that is impossible, put it into the graph."""
    encoding = fold(prep)
    if encoding is not None:
        return plan, prep, encoding
    return replace(plan, mean=prep.mean, std=prep.std), replace_normalisation(prep, _PIXELS), InputEncoding(1.0, 0)


def _size(facts: SourceFacts, request: ConvertRequest) -> tuple[int, int, int]:
    height, width = request.input_size or (facts.height, facts.width)
    if height is None or width is None:
        raise UsageError(
            f"{request.source}: its input size is open: [batch, {facts.height}, {facts.width}, {facts.channels}]",
            hint="fix it with: --input-size HEIGHTxWIDTH",
        )
    if any(own not in (None, wanted) for own, wanted in ((facts.height, height), (facts.width, width))):
        raise UsageError(
            f"{request.source}: its input is {facts.height}x{facts.width}, got --input-size {height}x{width}",
            hint="leave --input-size out",
        )
    return image_size((1, height, width, facts.channels), str(request.source))


def _source_normalisation(
    facts: SourceFacts, options: PrepOptions, where: str
) -> tuple[Normalisation, tuple[str, ...]]:
    """Return what is done to pixels before the trained model sees them."""
    leading = facts.leading
    if options.mean is not None and options.std is not None:
        given = (options.mean, options.std)
        if leading is not None and given != _PIXELS:
            names = ", ".join(leading.names)
            return given, (
                f"the model normalises pixels itself ({names}); {format_normalise(*given)} is applied before that",
            )
        return given, ()
    if leading is not None:
        return _PIXELS, ()
    raise UsageError(f"{where}: the model does not say how pixels are normalised", hint=NORMALISE_HINT)


def _inner_normalisation(leading: LeadingLayers | None, normalisation: Normalisation) -> Normalisation | None:
    """Return the normalisation that leaving out the model's leading layers would leave to us, if that is possible."""
    if leading is None or not leading.removable or normalisation != _PIXELS:
        return None
    return leading.mean, leading.std
