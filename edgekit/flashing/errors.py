"""What goes wrong on the way to a card."""

from __future__ import annotations

from device_runtime.errors import EdgeError


class NotWrittenError(EdgeError):
    """What was written is not what is read back."""

    code = "not-written"
