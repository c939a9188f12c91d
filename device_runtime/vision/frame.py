"""A frame: pixels that know their colour order, and when they were captured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import Colour

Pixels = npt.NDArray[np.uint8]
Tensor = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from a camera, video or file.

    ``pixels`` is (H, W, 3) uint8 in ``colour`` order (RGB or BGR), or (H, W) uint8 for GRAY. ``captured_ns`` is the
    monotonic clock when it was grabbed; ``index`` counts the source's frames from 0, dropped ones included;
    ``capture_ms`` is what grabbing and decoding it took.
    """

    pixels: Pixels
    colour: Colour
    captured_ns: int = 0
    index: int = 0
    source: str = ""
    capture_ms: float = 0.0

    def __post_init__(self) -> None:
        wanted = 2 if self.colour is Colour.GRAY else 3
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or len(shape) != wanted or 0 in shape or (wanted == 3 and shape[2] != 3):
            expected = "(H, W)" if wanted == 2 else "(H, W, 3)"
            raise ValueError(
                f"pixels: expected {expected} uint8 for {self.colour.value}, got {shape} {self.pixels.dtype}"
            )

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    def decoded(self) -> Frame:
        """Return this frame: its pixels are there."""
        return self
