"""The one place that knows how colour orders and YUV convert into each other."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

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

_PACKED = {"yuyv": cv2.COLOR_YUV2BGR_YUYV, "i420": cv2.COLOR_YUV2BGR_I420, "nv12": cv2.COLOR_YUV2BGR_NV12}

# From Y U V in the video range (Y 16–235, U and V 16–240 around 128) to R G B 0–255: ITU-R BT.601, with the
# coefficients of OpenCV's COLOR_YUV2RGB_I420, so that a picture has the same colours by either way.
_LUMA = 1.164
_YUV_TO_RGB = np.array([[_LUMA, 0.0, 1.596], [_LUMA, -0.391, -0.813], [_LUMA, 2.018, 0.0]])
_OFFSETS = np.array([16.0, 128.0, 128.0])


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


def packed_to_bgr(data: Pixels, packing: str) -> Pixels:
    """Return a whole YUV frame as (H, W, 3) uint8 BGR; ``packing`` is ``yuyv``, ``i420`` or ``nv12``."""
    return cv2.cvtColor(data, _PACKED[packing])  # type: ignore[return-value]  # stubs lack the dtype


def convert_yuv(yuv: Pixels, target: Colour, out: Pixels) -> None:
    """Convert whole Y U V pixels in the video range.

    Args:
        yuv: (H, W, 3) uint8, or (H, W) uint8 with Y alone, which is enough for GRAY.
        target: RGB, BGR or GRAY.
        out: (H, W, 3) uint8 to write into, or (H, W) for GRAY.
    """
    if target is Colour.GRAY:
        cv2.LUT(yuv, _GREYS, dst=out)
    else:
        cv2.transform(yuv, _MATRICES[target], dst=out)


def _matrix(rows: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Return (3, 4) for ``cv2.transform``: a row per output channel, the last column is added."""
    turned = _YUV_TO_RGB[list(rows)]
    return np.column_stack([turned, -turned @ _OFFSETS]).astype(np.float32)


_MATRICES = {Colour.RGB: _matrix((0, 1, 2)), Colour.BGR: _matrix((2, 1, 0))}
_GREYS: Pixels = np.clip(np.rint((np.arange(256) - _OFFSETS[0]) * _LUMA), 0, 255).astype(np.uint8)
