"""Frames to model inputs: what calibration, evaluation, goldens, bench and the camera loop all call."""

from __future__ import annotations

import cv2
import numpy as np

from device_runtime.contract.model import ImagePrep, Interpolation, TensorSpec
from device_runtime.vision.colour import convert
from device_runtime.vision.frame import Frame, Pixels, Tensor
from device_runtime.vision.normalise import byte_table
from device_runtime.vision.placement import Placement, plan_placement

_METHODS = {
    Interpolation.NEAREST: cv2.INTER_NEAREST,
    Interpolation.BILINEAR: cv2.INTER_LINEAR,
    Interpolation.AREA: cv2.INTER_AREA,
}


class Preparer:
    """Turns frames into one model's input, reusing its buffers from frame to frame.

    Resizing comes before colour conversion, because it leaves fewer pixels to convert. Normalisation and
    quantisation of a byte are one 256-entry table per channel, which vanishes when it is the identity (a ``uint8``
    input with the normalisation folded into its scale and zero point) and is an XOR when it is ``byte - 128``.
    An instance serves one thread.
    """

    def __init__(self, prep: ImagePrep, tensor: TensorSpec) -> None:
        self.prep = prep
        self.tensor = tensor
        self._table = byte_table(prep, tensor)
        self._straight = tensor.dtype == "uint8" and bool(np.all(self._table == np.arange(256)[:, None]))
        self._xor = tensor.dtype == "int8" and bool(np.all(self._table == np.arange(-128, 128)[:, None]))
        self._resized: dict[tuple[int, int, int], Pixels] = {}
        shape = (prep.height, prep.width, prep.channels)
        self._bytes: Pixels = np.empty(shape, np.uint8)
        self._placement: Placement | None = None

    @property
    def straight(self) -> bool:
        """Whether camera bytes go into the input as they are, with no arithmetic per pixel."""
        return self._straight or self._xor

    def place(self, frame: Frame) -> Placement:
        """Return where ``frame`` lies in the input; planned once per frame size."""
        known = self._placement
        if known is None or (known.frame_width, known.frame_height) != (frame.width, frame.height):
            known = self._placement = plan_placement(self.prep, frame.width, frame.height)
        return known

    def write(self, frame: Frame, target: Tensor) -> Placement:
        """Prepare ``frame`` into ``target``, the model's input tensor.

        Args:
            frame: any size, RGB, BGR or GRAY.
            target: (1, height, width, channels) of the tensor's dtype; every element is written.

        Returns:
            Where the frame lies in the input, to map predictions back.
        """
        placement = self.place(frame)
        image = target[0]
        if self._straight:
            self._fit(frame, placement, image)
        elif self._xor:
            self._fit(frame, placement, image.view(np.uint8))
            np.bitwise_xor(image.view(np.uint8), 0x80, out=image.view(np.uint8))
        else:
            self._fit(frame, placement, self._bytes)
            self._look_up(self._bytes, image)
        return placement

    def _fit(self, frame: Frame, placement: Placement, out: Pixels) -> None:
        """Resize, pad and convert ``frame`` into ``out``, (height, width, channels) uint8."""
        source = frame.pixels
        if placement.crops:
            rows = slice(placement.crop_top, placement.crop_top + placement.crop_height)
            source = source[rows, placement.crop_left : placement.crop_left + placement.crop_width]
        padded = (placement.width, placement.height) != (self.prep.width, self.prep.height)
        if padded:
            out[...] = self.prep.pad
        rows = slice(placement.top, placement.top + placement.height)
        window = out[rows, placement.left : placement.left + placement.width]
        plane = window[:, :, 0] if self.prep.channels == 1 else window
        if frame.colour is self.prep.colour:
            self._resize(source, placement, plane)
        else:
            convert(self._resize(source, placement, None), frame.colour, self.prep.colour, plane)

    def _resize(self, source: Pixels, placement: Placement, out: Pixels | None) -> Pixels:
        size = (placement.width, placement.height)
        if source.shape[1::-1] == size:
            if out is None:
                return source
            out[...] = source
            return out
        if out is None:
            channels = 1 if source.ndim == 2 else source.shape[2]
            key = (*size, channels)
            shape = (size[1], size[0]) if source.ndim == 2 else (size[1], size[0], channels)
            out = self._resized.setdefault(key, np.empty(shape, np.uint8))
        cv2.resize(source, size, dst=out, interpolation=_METHODS[self.prep.interpolation])
        return out

    def _look_up(self, pixels: Pixels, out: Tensor) -> None:
        """Write each byte's entry of the table into ``out``; both are (height, width, channels)."""
        if out.dtype == np.float16:  # cv2.LUT has no half floats
            for channel in range(pixels.shape[2]):
                column = self._table[:, channel % self._table.shape[1]]
                np.take(column, pixels[:, :, channel], out=out[:, :, channel], mode="clip")
            return
        flat = pixels.shape[2] == 1
        cv2.LUT(pixels[:, :, 0] if flat else pixels, self._table[None], dst=out[:, :, 0] if flat else out)


def prepare_bytes(frame: Frame, prep: ImagePrep) -> Pixels:
    """Resize and convert ``frame``, without normalising: (height, width, channels) uint8 in ``prep.colour`` order."""
    plain = ImagePrep(
        prep.width, prep.height, prep.colour, prep.resize, prep.crop_fraction, prep.interpolation, prep.pad
    )
    shape = (1, prep.height, prep.width, prep.channels)
    target = np.empty(shape, np.uint8)
    Preparer(plain, TensorSpec("image", shape, "uint8")).write(frame, target)
    image: Pixels = target[0]
    return image
