"""What can go wrong while a model is converted."""

from __future__ import annotations

from device_runtime.errors import EdgeError


class ConversionError(EdgeError):
    """A conversion failed, or its result is not the trained model any more; nothing was written."""

    code = "conversion-failed"
    exit_code = 4
