"""Options that several verbs share: how pictures are prepared, and what a model's outputs mean."""

from __future__ import annotations

import dataclasses
import functools
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from converters.interface import METRICS, OBJECTIVES, PrepOptions, TaskOptions
from converters.normalise import FORMS, Normalisation, parse_normalise
from device_runtime.contract.decode import decode, read_json
from device_runtime.contract.model import (
    TASK_DECODERS,
    BoxFormat,
    BoxUnit,
    Colour,
    Interpolation,
    Resize,
    ScoreActivation,
    SsdAnchors,
)
from device_runtime.errors import UsageError

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


class WorkersType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases of click
    """A number of workers, or ``auto``, which is 0."""

    name = "workers"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return what the help shows for the value."""
        del param, ctx
        return "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the text; click says what is wrong with it."""
        if str(value) == "auto":
            return 0
        return int(click.IntRange(1, 64).convert(value, param, ctx))


WORKERS = WorkersType()


class AnchorsType(click.ParamType):  # type: ignore[type-arg]  # as above
    """A JSON file that describes the anchors of an SSD head."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SsdAnchors:
        """Read the file. Raises BadFileError, which says what is wrong with it."""
        del param, ctx
        if isinstance(value, SsdAnchors):
            return value
        return decode(SsdAnchors, read_json(object, Path(value)), str(value), unknown="error")


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
    click.option(
        "--decoder",
        type=click.Choice(_DECODERS),
        metavar="NAME",
        help="What the model's outputs are: probabilities, ssd, yolov8, movenet, …",
    ),
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
    click.option(
        "--box-unit",
        type=click.Choice([item.value for item in BoxUnit]),
        help="What boxes are counted in: shares of the input, or its pixels.",
    ),
    click.option(
        "--score-activation",
        type=click.Choice([item.value for item in ScoreActivation]),
        help="What is still to be applied to scores (boxes-scores, ssd, heatmaps).  [default: none]",
    ),
    click.option(
        "--background", is_flag=True, default=None, help="The first class is the background (boxes-scores, ssd)."
    ),
    click.option("--anchors", type=AnchorsType(), help="JSON file that describes the anchors of an ssd head."),
)

_ENGINE = (
    click.option("--engine", help="auto, litert or tflite-runtime.  [default: the project's or bundle's, or auto]"),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="CPU threads for one inference.  [default: the project's or bundle's, or 1]",
    ),
)


_SOURCE = (
    click.option("--input-size", metavar="HEIGHTxWIDTH", help="Size of an image model that leaves it open."),
    click.option(
        "--input-shape",
        "input_shapes",
        multiple=True,
        metavar="1xNx…",
        help="Whole shape of an input that is left open, or of a function's example input; one for each input.",
    ),
    click.option("--signature", help="Which signature of a SavedModel.  [default: serving_default, or the only one]"),
)

_SEARCH = (
    click.option(
        "--max-drop", type=click.FloatRange(0, 100), help="With --recipe auto: points that may be lost.  [default: 1.0]"
    ),
    click.option(
        "--metric", type=click.Choice(METRICS), help="What the points are of.  [default: by labels, or agreement]"
    ),
    click.option("--optimize", type=click.Choice(OBJECTIVES), help="What is to be small.  [default: latency]"),
    click.option("--evaluation", type=click.Path(path_type=Path), help="Labelled data set to compare candidates with."),
    click.option("--max-size", metavar="SIZE", help="Largest file that may be chosen, as 500KB or 4MB."),
    click.option(
        "--candidates", multiple=True, metavar="PATTERN", help="Recipes to try, as static-*; several are allowed."
    ),
)


def source_options(function: Callable[P, R]) -> Callable[..., R]:
    """Add what a source may not say itself; the command gets ``source: dict`` with fields of ``ConvertRequest``."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> R:
        size, shapes = values.pop("input_size"), values.pop("input_shapes")
        sides = None if size is None else _sides(size, "--input-size", 2, "HEIGHTxWIDTH in pixels", "96x96")
        values["source"] = {
            "input_size": sides,
            "input_shapes": tuple(_sides(each, "--input-shape", 0, "sizes", "1x40x80") for each in shapes) or None,
            "signature": values.pop("signature"),
        }
        return function(*args, **values)

    return _with(command, _SOURCE)


def search_options(function: Callable[P, R]) -> Callable[..., R]:
    """Add the options of a search; the command gets ``search: dict`` of those fields of ``SearchOptions`` given."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> R:
        limit = values.pop("max_size")
        given = {name: values.pop(name) for name in ("max_drop", "metric", "optimize", "evaluation", "candidates")}
        given["max_bytes"] = None if limit is None else parse_bytes(limit, "--max-size")
        values["search"] = {name: value for name, value in given.items() if value not in (None, ())}
        return function(*args, **values)

    return _with(command, _SEARCH)


def parse_bytes(text: str, where: str) -> int:
    """Return a number of bytes from ``500KB``, ``4MB`` or a plain number. Raises UsageError naming ``where``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f'{where}: expected a size, got "{text}"', hint=f"{where} 500KB, or {where} 4MB")
    return int(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()])


def _sides(text: str, where: str, count: int, what: str, example: str) -> tuple[int, ...]:
    parts = re.split("[x×]", text)
    if not all(re.fullmatch(r"[1-9]\d{0,8}", part) for part in parts) or (count and len(parts) != count):
        raise UsageError(f'{where}: expected {what}, got "{text}"', hint=f"{where} {example}")
    return tuple(int(part) for part in parts)


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
        box_format, unit, activation = (values.pop(name) for name in ("box_format", "box_unit", "score_activation"))
        values["task"] = TaskOptions(
            name,
            decoder,
            *thresholds,
            BoxFormat(box_format) if box_format else None,
            values.pop("label_offset"),
            BoxUnit(unit) if unit else None,
            ScoreActivation(activation) if activation else None,
            values.pop("background"),
            values.pop("anchors"),
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
