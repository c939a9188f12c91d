"""Options that several verbs share: how pictures are prepared, and what a model's outputs mean."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from converters.interface import PrepOptions, TaskOptions
from converters.normalise import FORMS, Normalisation, parse_normalise
from device_runtime.contract.model import TASK_DECODERS, BoxFormat, Colour, Interpolation, Resize

P = ParamSpec("P")
R = TypeVar("R")
Options = TypeVar("Options", PrepOptions, TaskOptions)

_DECODERS = [decoder for decoders in TASK_DECODERS.values() for decoder in decoders]


class NormaliseType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases of click
    """A normalisation's words, as mean and std in pixel units."""

    name = "normalisation"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what the help shows for the value."""
        del param, ctx
        return "|".join(FORMS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Normalisation:
        """Parse the text. Raises UsageError, which says what is wrong with it."""
        del param, ctx
        if isinstance(value, tuple):
            return value
        return parse_normalise(str(value))


_PREP = (
    click.option(
        "--normalise",
        "--normalize",
        "normalise",
        type=NormaliseType(),
        help="Range that the model was trained with, or mean and deviation in pixel units.",
    ),
    click.option(
        "--resize",
        type=click.Choice([item.value for item in Resize]),
        help="How a picture is fitted to the model's size.  [default: stretch]",
    ),
    click.option(
        "--crop-fraction",
        type=click.FloatRange(0, 1, min_open=True),
        help="Side of the central square, relative to the picture's shorter side (center-crop).",
    ),
    click.option(
        "--interpolation",
        type=click.Choice([item.value for item in Interpolation]),
        help="How pixels are resampled.  [default: bilinear]",
    ),
    click.option("--pad", type=click.IntRange(0, 255), help="Grey around a letterboxed picture.  [default: 0]"),
    click.option(
        "--colour",
        "--color",
        "colour",
        type=click.Choice([item.value for item in Colour]),
        help="Channel order of the model's input.  [default: rgb, or gray for one channel]",
    ),
)

_TASK = (
    click.option("--task", "task_name", type=click.Choice(list(TASK_DECODERS)), help="What the model is for."),
    click.option("--decoder", type=click.Choice(_DECODERS), help="What the model's outputs are."),
    click.option("--score-threshold", type=click.FloatRange(0, 1), help="Leave out what scores below this."),
    click.option("--max-items", type=click.IntRange(min=1), help="Keep at most this many, the best ones."),
    click.option(
        "--iou-threshold", type=click.FloatRange(0, 1), help="Overlap from which the worse of two boxes is dropped."
    ),
    click.option(
        "--box-format", type=click.Choice([item.value for item in BoxFormat]), help="Order of a box's four numbers."
    ),
    click.option(
        "--label-offset", type=int, help="What to add to a class to get its label (1: the labels count a background)."
    ),
)

_ENGINE = (
    click.option("--engine", help="auto, litert or tflite-runtime.  [default: the project's or bundle's, or auto]"),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads for one inference.  [default: the project's or bundle's, or 1]",
    ),
)


def prep_options(function: Callable[P, R]) -> Callable[..., R]:
    """Add the options of image preparation to a command; it gets them as ``prep: PrepOptions``."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> R:
        mean, std = values.pop("normalise") or (None, None)
        resize, interpolation, colour = (values.pop(name) for name in ("resize", "interpolation", "colour"))
        values["prep"] = PrepOptions(
            Resize(resize) if resize else None,
            values.pop("crop_fraction"),
            Interpolation(interpolation) if interpolation else None,
            values.pop("pad"),
            Colour(colour) if colour else None,
            mean,
            std,
        )
        return function(*args, **values)

    return _with(command, _PREP)


def task_options(function: Callable[P, R]) -> Callable[..., R]:
    """Add the options of the task to a command; it gets them as ``task: TaskOptions``."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> R:
        name, decoder = values.pop("task_name"), values.pop("decoder")
        thresholds = (values.pop("score_threshold"), values.pop("max_items"), values.pop("iou_threshold"))
        box_format = values.pop("box_format")
        values["task"] = TaskOptions(
            name, decoder, *thresholds, BoxFormat(box_format) if box_format else None, values.pop("label_offset")
        )
        return function(*args, **values)

    return _with(command, _TASK)


def engine_options(function: Callable[P, R]) -> Callable[..., R]:
    """Add ``--engine`` and ``--threads`` to a command; it gets ``engine`` and ``threads``, each may be None."""
    return _with(function, _ENGINE)


def model_argument(*, required: bool = True) -> Callable[[Callable[P, R]], Callable[..., R]]:
    """Add the argument MODEL, a ``.tflite`` file or a bundle; the command gets it as ``model: Path`` or None."""
    return click.argument("model", required=required, type=click.Path(path_type=Path))


def merge(wanted: Options, project: Options) -> Options:
    """Return ``project``'s options with those that ``wanted`` sets in their place."""
    given = {name: value for name, value in vars(wanted).items() if value is not None}
    return dataclasses.replace(project, **given)


def _with(command: Callable[..., R], options: tuple[Callable[[Any], Any], ...]) -> Callable[..., R]:
    decorated: Any = command
    for option in reversed(options):
        decorated = option(decorated)
    return typing.cast("Callable[..., R]", decorated)
