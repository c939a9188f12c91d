"""From options and facts to an ImagePrep, with errors that name the option."""

from __future__ import annotations

from collections.abc import Sequence

from converters.interface import PrepOptions
from device_runtime.contract.model import Colour, ImagePrep, Interpolation, Resize
from device_runtime.errors import ModelError, UsageError

NORMALISE_HINT = "say what range it was trained with: --normalise 0..1, -1..1, 0..255, imagenet or MEAN:STD"


def image_size(shape: Sequence[int], where: str) -> tuple[int, int, int]:
    """Return height, width and channels of an image input.

    Args:
        shape: (1, height, width, channels).
        where: the file, for messages.

    Raises:
        ModelError: it is no image.
    """
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3) or min(shape) < 1:
        raise ModelError(
            f"{where}: expected an image input of shape [1, height, width, 1 or 3], got {list(shape)}",
            hint="edgekit runs vision models with one image input, channels last",
        )
    return shape[1], shape[2], shape[3]


def make_prep(
    size: tuple[int, int, int],
    options: PrepOptions,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    where: str,
    *,
    colour: Colour | None = None,
) -> ImagePrep:
    """Return the preparation for an input.

    Args:
        size: height, width and channels.
        options: what the user says; the rest gets defaults.
        normalisation: mean and std in pixel units.
        where: the file, for messages.
        colour: what the model itself says of its colour order.

    Raises:
        UsageError: the options do not fit the input.
    """
    height, width, channels = size
    usual = colour or (Colour.GRAY if channels == 1 else Colour.RGB)
    chosen = options.colour or usual
    if chosen.channels != channels:
        raise UsageError(
            f"{where}: its input has {channels} channel{'s' if channels > 1 else ''}, got --colour {chosen.value}",
            hint="leave --colour out, or give rgb or bgr" if channels == 3 else "leave --colour out, or give gray",
        )
    defaults = ImagePrep(width, height)
    try:
        return ImagePrep(
            width,
            height,
            chosen,
            options.resize or Resize.STRETCH,
            options.crop_fraction if options.crop_fraction is not None else defaults.crop_fraction,
            options.interpolation or Interpolation.BILINEAR,
            options.pad if options.pad is not None else defaults.pad,
            *normalisation,
        )
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
