"""Trained models to TFLite, with proof: heavy frameworks work in child processes, and nothing is printed."""

from __future__ import annotations

from converters.interface import ConversionResult, ConvertRequest
from device_runtime.contract.events import Events


def convert(request: ConvertRequest, events: Events) -> ConversionResult:
    """Convert a trained model to TFLite, and write it with its ModelSpec beside it.

    The trained model itself, the float model and the final file are run on the same pictures; what differs more than
    the recipe explains is refused, and nothing is written then.

    Args:
        request: the model and what is wanted of it.
        events: hears of steps, progress and warnings.

    Raises:
        UsageError: something is missing or unknown; the hint names the option.
        BadFileError: the model, the pictures or the labels cannot be used.
        ConversionError: a framework failed, or the result is not the trained model any more.
        EdgeError: the disk refuses.
    """
    from converters.pipeline import convert as run  # noqa: PLC0415 - NumPy and OpenCV, for those who convert

    return run(request, events)
