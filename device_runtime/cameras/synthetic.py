"""Frames that are drawn: a source that every machine has."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np

from device_runtime.cameras.belt_scene import BeltConfig, BeltScene
from device_runtime.contract.decode import suggestion
from device_runtime.contract.model import Colour
from device_runtime.errors import UsageError
from device_runtime.vision.frame import Frame, Pixels

_FPS = 30.0
_SIZE = (640, 480)


class Scene(Protocol):
    """Something that can be drawn at any time: frame ``index`` as (H, W, 3) uint8 RGB."""

    def draw(self, index: int) -> Pixels:
        """Draw frame ``index``."""


class _Belt:
    """Parts on a conveyor belt."""

    def __init__(self, width: int, height: int) -> None:
        self._scene = BeltScene(BeltConfig(width, height))

    def draw(self, index: int) -> Pixels:
        return self._scene.render(index)[0]


class _Pattern:
    """Moving bars: costs next to nothing to draw, so that it measures everything else."""

    def __init__(self, width: int, height: int) -> None:
        ramp = np.arange(width + 256, dtype=np.uint16) % 256
        row = np.stack([ramp, ramp[::-1], (ramp * 3) % 256], axis=1).astype(np.uint8)
        self._width = width
        self._wide: Pixels = np.ascontiguousarray(np.broadcast_to(row, (height, *row.shape)))

    def draw(self, index: int) -> Pixels:
        shift = (index * 4) % 256
        return np.ascontiguousarray(self._wide[:, shift : shift + self._width])


SCENES: dict[str, type[_Belt | _Pattern]] = {"belt": _Belt, "pattern": _Pattern}
"""The scenes by name."""


class SyntheticCamera:
    """A drawn scene without end. It is not live: frames come as fast as they are taken."""

    live = False
    fps: float | None = _FPS

    def __init__(self, scene: str, size: tuple[int, int] | None = None) -> None:
        """Choose a scene and its size (width, height) in px. Raises UsageError when there is no such scene or size."""
        if scene not in SCENES:
            raise UsageError(f'no synthetic scene "{scene}"', hint=suggestion(scene, SCENES))
        self.name = f"synthetic:{scene}"
        try:
            self._scene: Scene = SCENES[scene](*(size or _SIZE))
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from None
        self._index = 0

    def read(self) -> Frame | None:
        """Draw the next frame."""
        captured = time.monotonic_ns()
        pixels = self._scene.draw(self._index)
        taken = (time.monotonic_ns() - captured) / 1e6
        frame = Frame(pixels, Colour.RGB, captured, self._index, self.name, taken)
        self._index += 1
        return frame

    def close(self) -> None:
        """Nothing is left open."""
