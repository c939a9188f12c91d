"""Tells images with channels first from other tensors, by the operators that they go into or come from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

Tensor = TypeVar("Tensor")

TO_LAST = (0, 2, 3, 1)
"""From (n, channels, height, width) to (n, height, width, channels)."""
TO_FIRST = (0, 3, 1, 2)
"""The way back."""


def meets_spatial(
    start: Tensor,
    onward: Callable[[Tensor], Iterable[tuple[str, Collection[Tensor]]]],
    spatial: Collection[str],
    keeping: Collection[str],
) -> bool:
    """Whether a tensor meets a spatial operator, looked at through what keeps the order of axes.

    Args:
        start: an input, or an output.
        onward: gives the operators at a tensor, each with the tensors behind it, seen from ``start``.
        spatial: operators that are defined for (n, channels, height, width) only.
        keeping: operators that leave the order of axes as it is.
    """
    waiting, seen = [start], [start]
    while waiting:
        for kind, behind in onward(waiting.pop()):
            if kind in spatial:
                return True
            if kind in keeping:
                new = [tensor for tensor in behind if tensor not in seen]
                seen += new
                waiting += new
    return False
