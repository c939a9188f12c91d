"""What goes wrong on the way to a board."""

from __future__ import annotations

from device_runtime.errors import EdgeError


class UnreachableError(EdgeError):
    """A board, or what should run on it, does not answer."""

    code = "unreachable"
    exit_code = 5
