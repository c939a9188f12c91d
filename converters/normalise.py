"""The words for a normalisation: ``0..255``, ``0..1``, ``-1..1``, ``imagenet`` or ``MEAN:STD`` in pixel units."""

from __future__ import annotations

import math

from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

NAMED: dict[str, Normalisation] = {
    "0..255": ((0.0,), (1.0,)),
    "0..1": ((0.0,), (255.0,)),
    "-1..1": ((127.5,), (127.5,)),
    # torchvision's and keras.applications' "torch" mode: 255 times (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225).
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""What each word means: mean and standard deviation in pixel units (0–255), RGB order."""

FORMS = (*NAMED, "MEAN:STD")


def parse_normalise(text: str) -> Normalisation:
    """Return mean and std in pixel units (0–255), so that the input is ``(pixel - mean) / std``.

    Args:
        text: a word of ``NAMED``, or ``MEAN:STD`` with one number or one per channel, separated by commas
            (``127.5:127.5``, ``123.7,116.3,103.5:58.4,57.1,57.4``).

    Raises:
        UsageError: it is neither.
    """
    word = text.strip().lower()
    if word in NAMED:
        return NAMED[word]
    if ":" not in word:
        raise UsageError(f'unknown normalisation "{text}"', hint=suggestion(word, FORMS))
    mean_text, _, std_text = word.partition(":")
    mean, std = _numbers(mean_text, text), _numbers(std_text, text)
    if len(mean) != len(std) and 1 not in (len(mean), len(std)):
        raise UsageError(
            f'normalisation "{text}": expected as many means as deviations, got {len(mean)} and {len(std)}'
        )
    if any(value <= 0 for value in std):
        raise UsageError(f'normalisation "{text}": expected deviations above 0, got {std_text}')
    return mean, std


def format_normalise(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Return the text that ``parse_normalise`` reads as ``mean`` and ``std``."""
    for word, known in NAMED.items():
        if known == (mean, std):
            return word
    return ":".join(",".join(f"{value:.12g}" for value in values) for values in (mean, std))


def _numbers(text: str, whole: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(
            f'normalisation "{whole}": expected numbers separated by commas, got "{text}"',
            hint="write it like 127.5:127.5",
        ) from error
    if len(values) not in (1, 3) or not all(math.isfinite(value) for value in values):
        raise UsageError(f'normalisation "{whole}": expected 1 or 3 finite numbers, got "{text}"')
    return values
