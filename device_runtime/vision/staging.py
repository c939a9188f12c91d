"""Frames that are prepared before a worker takes them, so that the model need not wait for its next input."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from device_runtime.vision.frame import Tensor
from device_runtime.vision.placement import Placement
from device_runtime.vision.prepare import Preparer
from device_runtime.vision.raw import AnyFrame


@dataclass(slots=True, eq=False)
class Staged:
    """A frame with the model's input for it, (1, height, width, channels), ready to be copied into the tensor.

    ``release`` is called once it was, and ``tensor`` belongs to the next frame then.
    """

    frame: AnyFrame
    tensor: Tensor
    placement: Placement
    prepare_ms: float
    release: Callable[[], None]


Item = AnyFrame | Staged
"""What workers take."""

Stage = Callable[[AnyFrame], Item]


def frame_of(item: Item) -> AnyFrame:
    """Return the frame itself."""
    return item.frame if isinstance(item, Staged) else item


class Stager:
    """Prepares frames into buffers of its own, each used again once its frame is in the model.

    There are as many buffers as frames wait or are being taken at the same time. An instance prepares in one thread;
    buffers may be released in others.
    """

    def __init__(self, preparer: Preparer, wants: Callable[[AnyFrame], bool]) -> None:
        """Prepare with ``preparer`` those frames that ``wants`` is true of; others pass through as they are."""
        self._preparer = preparer
        self._wants = wants
        self._free: deque[Tensor] = deque()

    def __call__(self, frame: AnyFrame) -> Item:
        """Prepare a frame. Raises DamagedFrameError when its bytes cannot be decoded."""
        if not self._wants(frame):
            return frame
        started = time.perf_counter_ns()
        try:
            tensor = self._free.popleft()
        except IndexError:
            tensor = np.empty(self._preparer.tensor.shape, self._preparer.tensor.dtype)
        placement = self._preparer.write(frame, tensor)
        took = (time.perf_counter_ns() - started) / 1e6
        return Staged(frame, tensor, placement, took, lambda: self._free.append(tensor))
