"""The one place that knows how colour orders convert into each other."""

from __future__ import annotations

import cv2

from device_runtime.contract.model import Colour
from device_runtime.vision.frame import Pixels

_CODES = {
    (Colour.RGB, Colour.BGR): cv2.COLOR_RGB2BGR,
    (Colour.BGR, Colour.RGB): cv2.COLOR_BGR2RGB,
    (Colour.RGB, Colour.GRAY): cv2.COLOR_RGB2GRAY,
    (Colour.BGR, Colour.GRAY): cv2.COLOR_BGR2GRAY,
    (Colour.GRAY, Colour.RGB): cv2.COLOR_GRAY2RGB,
    (Colour.GRAY, Colour.BGR): cv2.COLOR_GRAY2BGR,
}


def convert(pixels: Pixels, source: Colour, target: Colour, out: Pixels | None = None) -> Pixels:
    """Return ``pixels`` in another colour order, written into ``out`` when it is given.

    Args:
        pixels: (H, W, 3) uint8 in ``source`` order, or (H, W) uint8 for GRAY.
        source: what ``pixels`` is.
        target: what is wanted. Grey is ITU-R BT.601 luma: 0.299 R + 0.587 G + 0.114 B.
        out: (H, W, 3) or (H, W) uint8 to write into.
    """
    if source is target:
        if out is None:
            return pixels
        out[...] = pixels
        return out
    return cv2.cvtColor(pixels, _CODES[source, target], dst=out)  # type: ignore[return-value]  # stubs lack the dtype
