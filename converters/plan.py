"""Decides, from what a trained model is and what the user says, how it is exported and what its ModelSpec states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from converters.backends.interface import ExportPlan, InputFacts, LeadingLayers, SourceFacts, StatedUse
from converters.interface import ConvertRequest, PrepOptions, TaskOptions
from converters.jobs import InputEncoding
from converters.normalise import Normalisation, format_normalise
from converters.prep import NORMALISE_HINT, image_size, make_prep
from converters.recipe import QuantRecipe
from converters.tasks import OutputFacts, fitting_labels, plan_task, require_fitting
from device_runtime.contract.model import ImagePrep, TaskSpec
from device_runtime.errors import UsageError

_PIXELS: Normalisation = ((0.0,), (1.0,))


@dataclass(frozen=True)
class ConversionPlan:
    """How to convert one model.

    ``source_prep`` is what the trained model takes, ``float_prep`` what the exported float model takes, ``byte_prep``
    what a model takes whose input is bytes, encoded by ``encoding``; they differ in mean and std only, and are None
    for a tensor model. ``order`` puts the outputs as the decoder wants them.
    """

    source_prep: ImagePrep | None
    export: ExportPlan
    float_prep: ImagePrep | None
    byte_prep: ImagePrep | None
    encoding: InputEncoding | None
    task: TaskSpec
    outputs: tuple[OutputFacts, ...]
    order: tuple[int, ...]
    labels: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def prep_of(self, recipe: QuantRecipe) -> ImagePrep | None:
        """Return how pictures are prepared for a model that ``recipe`` makes."""
        return self.float_prep if self.encoding_of(recipe) is None else self.byte_prep

    def encoding_of(self, recipe: QuantRecipe) -> InputEncoding | None:
        """Return the encoding of the bytes that a model of ``recipe`` takes; None when it takes none."""
        return self.encoding if recipe.takes_bytes else None


def plan_conversion(facts: SourceFacts, request: ConvertRequest, *, takes_bytes: bool) -> ConversionPlan:
    """Decide everything before work begins.

    Args:
        facts: what the model is.
        request: what the user says.
        takes_bytes: whether a model that takes camera bytes is to be made, maybe among others.

    Raises:
        UsageError: something cannot be known, and the message names the option that tells it.
        BadFileError: the label file does not fit.
    """
    where = str(request.source)
    request, contradictions = _with_stated(request, facts.stated)
    facts = replace(facts, remarks=facts.remarks + contradictions)
    shapes = _shapes(facts, request)
    options = request.task if facts.image else replace(request.task, name="regression", decoder="values")
    told = plan_task(facts.outputs, options, where)
    outputs = tuple(facts.outputs[index] for index in told.order)
    labels = _labels(request, facts, [output.shape for output in outputs], told.task)
    meaning = (told.task, outputs, told.order, labels)
    plan = ExportPlan(shapes)
    if facts.image is None:
        return ConversionPlan(None, plan, None, None, None, *meaning, facts.remarks)
    normalisation, warnings = _source_normalisation(facts, request.prep, where)
    source_prep = make_prep(image_size(shapes[0], where), request.prep, normalisation, where)
    remarks = facts.remarks + warnings
    if not takes_bytes or facts.quantised:
        return ConversionPlan(source_prep, plan, source_prep, None, None, *meaning, remarks)
    inner = _inner_normalisation(facts.leading, normalisation)
    plan = replace(plan, bare=inner is not None)
    plan, float_prep, encoding = _byte_input(plan, replace_normalisation(source_prep, inner or normalisation))
    bytes_mean = ((float(encoding.zero_point),), (1.0 / encoding.scale,))
    byte_prep = replace_normalisation(source_prep, bytes_mean)
    return ConversionPlan(source_prep, plan, float_prep, byte_prep, encoding, *meaning, remarks)


def _with_stated(request: ConvertRequest, stated: StatedUse) -> tuple[ConvertRequest, tuple[str, ...]]:
    """Fill what the user leaves open with what the source itself says; tell where the two contradict each other."""
    own, given = stated.prep, request.prep
    remarks: tuple[str, ...] = ()
    if None not in (own.mean, own.std, given.mean, given.std) and (own.mean, own.std) != (given.mean, given.std):
        says, told = (
            format_normalise(own.mean or (), own.std or ()),
            format_normalise(given.mean or (), given.std or ()),
        )
        remarks = (f"the file itself says that pixels are normalised {says}; {told} is used, as you say",)
    prep = PrepOptions(**{name: getattr(own, name) if value is None else value for name, value in vars(given).items()})
    task = request.task
    if task.name is None and task.decoder is None:
        filled = {name: getattr(stated.task, name) if value is None else value for name, value in vars(task).items()}
        task = TaskOptions(**filled)
    return replace(request, prep=prep, task=task), remarks


def _labels(
    request: ConvertRequest, facts: SourceFacts, shapes: list[tuple[int, ...]], task: TaskSpec
) -> tuple[str, ...]:
    if request.labels is None and facts.stated.labels:
        require_fitting(facts.stated.labels, shapes, task, f"{request.source}: its own labels")
        return facts.stated.labels
    return fitting_labels(request.labels, shapes, task)


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


def _shapes(facts: SourceFacts, request: ConvertRequest) -> tuple[tuple[int, ...], ...]:
    """Return the whole shape of every input, with batch 1."""
    if facts.image is not None and request.input_size is not None:
        return (_sized(facts.image, request.input_size, str(request.source)),)
    open_inputs = [tensor for tensor in facts.inputs if None in tensor.shape[1:]]
    if not open_inputs:
        return tuple(tuple(side or 1 for side in (1, *tensor.shape[1:])) for tensor in facts.inputs)
    if facts.image is None and len(request.input_shapes) == len(facts.inputs):
        return tuple(
            _fixed(tensor, shape, str(request.source))
            for tensor, shape in zip(facts.inputs, request.input_shapes, strict=True)
        )
    told = "; ".join(f"{tensor.name} {_shape_text(tensor.shape)}" for tensor in open_inputs)
    example = " ".join(
        "--input-shape " + "x".join(str(side or 1) for side in (1, *tensor.shape[1:])) for tensor in facts.inputs
    )
    raise UsageError(
        f"{request.source}: its input size is open: {told}",
        hint="fix it with: --input-size HEIGHTxWIDTH" if facts.image else f"fix it with sizes of yours, as: {example}",
    )


def _sized(image: InputFacts, size: tuple[int, int], where: str) -> tuple[int, ...]:
    if any(own not in (None, wanted) for own, wanted in zip(image.shape[1:3], size, strict=True)):
        own = "x".join(str(side or "open") for side in image.shape[1:3])
        raise UsageError(
            f"{where}: its input is {own}, got --input-size {size[0]}x{size[1]}", hint="leave --input-size out"
        )
    return (1, *size, image.shape[3] or 1)


def _fixed(tensor: InputFacts, shape: tuple[int, ...], where: str) -> tuple[int, ...]:
    fits = len(shape) == len(tensor.shape) and all(
        own in (None, wanted) for own, wanted in zip(tensor.shape[1:], shape[1:], strict=True)
    )
    if not fits or shape[0] != 1:
        raise UsageError(
            f"{where}: input {tensor.name} is {_shape_text(tensor.shape)}, got --input-shape {_shape_text(shape)}",
            hint="give every size, with 1 for the batch",
        )
    return shape


def _shape_text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if side is None else str(side) for side in shape)


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
