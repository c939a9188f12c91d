"""YUV frames at a model's size: planes are resized first, and only the pixels that are left are converted."""

from __future__ import annotations

import math

import cv2
import numpy as np

from device_runtime.contract.model import Colour
from device_runtime.vision.colour import convert_yuv
from device_runtime.vision.frame import Pixels
from device_runtime.vision.placement import Placement
from device_runtime.vision.raw import Encoding, RawFrame


class PlaneFitter:
    """Resizes and converts YUV frames, reusing its buffers from frame to frame.

    The chroma planes, which are smaller, are brought to the full size of the target: colours stay as sharp as the
    camera gave them. An instance serves one thread.
    """

    def __init__(self, method: int) -> None:
        """Resize with ``method``, one of OpenCV's ``INTER_…``."""
        self._method = method
        self._buffers: dict[tuple[int, ...], Pixels] = {}

    def fit(self, frame: RawFrame, placement: Placement, target: Colour, out: Pixels) -> None:
        """Bring the part of ``frame`` that ``placement`` takes to its size, in ``target`` order.

        Args:
            frame: YUYV, I420 or NV12.
            placement: which part of the frame, and how large it becomes.
            target: RGB, BGR or GRAY.
            out: (placement.height, placement.width, 3) uint8 to write into, or without the last axis for GRAY.
        """
        luma, *chroma = self._planes(frame, luma_only=target is Colour.GRAY)
        size = (placement.width, placement.height)
        resized = [self._resize(_part(luma, placement), size, 0)]
        for number, plane in enumerate(chroma, 1):
            resized.append(self._resize(_part(plane, placement), size, number))
        if target is Colour.GRAY:
            convert_yuv(resized[0], target, out)
            return
        yuv = self._buffer((size[1], size[0], 3))
        cv2.merge(resized, dst=yuv)
        convert_yuv(yuv, target, out)

    def _planes(self, frame: RawFrame, *, luma_only: bool) -> list[Pixels]:
        """Return Y (H, W), and then U and V (h, w), or both as one (h, w, 2)."""
        data, height, width = frame.data, frame.height, frame.width
        if frame.encoding is Encoding.YUYV:
            if luma_only:
                return [cv2.extractChannel(data, 0, dst=self._buffer((height, width)))]  # type: ignore[list-item]  # no dtype
            luma, chroma = self._buffer((height, width)), self._buffer((height, width, 1))
            cv2.split(data, [luma, chroma])
            return [luma, chroma.reshape(height, width // 2, 2)]
        luma = data[:height]
        if frame.encoding is Encoding.NV12:
            return [luma, data[height:].reshape(height // 2, width // 2, 2)]
        quarter = data[height:].reshape(2, height // 2, width // 2)
        return [luma, quarter[0], quarter[1]]

    def _resize(self, plane: Pixels, size: tuple[int, int], number: int) -> Pixels:
        if plane.shape[1::-1] == size:
            return plane
        out = self._buffer((size[1], size[0], *plane.shape[2:]), number)
        cv2.resize(plane, size, dst=out, interpolation=self._method)
        return out

    def _buffer(self, shape: tuple[int, ...], number: int = -1) -> Pixels:
        key = (*shape, number)
        if key not in self._buffers:
            self._buffers[key] = np.empty(shape, np.uint8)
        return self._buffers[key]


def _part(plane: Pixels, placement: Placement) -> Pixels:
    """Return what ``placement`` takes of a plane, which covers the whole frame and may have fewer pixels."""
    if not placement.crops:
        return plane
    rows, columns = plane.shape[0] / placement.frame_height, plane.shape[1] / placement.frame_width
    top, left = math.floor(placement.crop_top * rows), math.floor(placement.crop_left * columns)
    bottom = math.ceil((placement.crop_top + placement.crop_height) * rows)
    right = math.ceil((placement.crop_left + placement.crop_width) * columns)
    return plane[top:bottom, left:right]
