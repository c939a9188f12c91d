"""Frames to model inputs: what calibration, evaluation, goldens, bench and the camera loop all call."""

from __future__ import annotations

import cv2
import numpy as np

from device_runtime.contract.model import Colour, ImagePrep, Interpolation, TensorSpec
from device_runtime.vision.colour import convert
from device_runtime.vision.frame import Frame, Pixels, Tensor
from device_runtime.vision.normalise import byte_table
from device_runtime.vision.placement import Placement, plan_placement
from device_runtime.vision.planes import PlaneFitter
from device_runtime.vision.raw import REDUCTIONS, AnyFrame, Encoding

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

    Frames as a camera gave them are never made whole: of a JPEG, only as many pixels are decoded as the input has use
    for (its DCT scales by 2, 4 and 8), and YUV planes are resized before they are converted. An instance serves one
    thread.
    """

    def __init__(self, prep: ImagePrep, tensor: TensorSpec) -> None:
        self.prep = prep
        self.tensor = tensor
        self._table = byte_table(prep, tensor)
        self._straight = tensor.dtype == "uint8" and bool(np.all(self._table == np.arange(256)[:, None]))
        self._xor = tensor.dtype == "int8" and bool(np.all(self._table == np.arange(-128, 128)[:, None]))
        self._resized: dict[tuple[int, ...], Pixels] = {}
        shape = (prep.height, prep.width, prep.channels)
        self._bytes: Pixels = np.empty(shape, np.uint8)
        self._placement: Placement | None = None
        self._planes = PlaneFitter(_METHODS[prep.interpolation])

    @property
    def straight(self) -> bool:
        """Whether camera bytes go into the input as they are, with no arithmetic per pixel."""
        return self._straight or self._xor

    def place(self, frame: AnyFrame) -> Placement:
        """Return where ``frame`` lies in the input; planned once per frame size."""
        known = self._placement
        if known is None or (known.frame_width, known.frame_height) != (frame.width, frame.height):
            known = self._placement = plan_placement(self.prep, frame.width, frame.height)
        return known

    def write(self, frame: AnyFrame, target: Tensor) -> Placement:
        """Prepare ``frame`` into ``target``, the model's input tensor.

        Args:
            frame: any size, RGB, BGR or GRAY, or as a camera gave it.
            target: (1, height, width, channels) of the tensor's dtype; every element is written.

        Returns:
            Where the frame lies in the input, to map predictions back.

        Raises:
            DamagedFrameError: the camera's bytes cannot be decoded.
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

    def _fit(self, frame: AnyFrame, placement: Placement, out: Pixels) -> None:
        """Resize, pad and convert ``frame`` into ``out``, (height, width, channels) uint8."""
        if (placement.width, placement.height) != (self.prep.width, self.prep.height):
            out[...] = self.prep.pad
        rows = slice(placement.top, placement.top + placement.height)
        window = out[rows, placement.left : placement.left + placement.width]
        plane = window[:, :, 0] if self.prep.channels == 1 else window
        if isinstance(frame, Frame):
            self._fit_pixels(frame.pixels, frame.colour, placement, plane)
        elif frame.encoding is Encoding.JPEG:
            by = self._reduction(placement)
            self._fit_pixels(frame.decode_reduced(by), Colour.BGR, placement, plane, by)
        else:
            self._planes.fit(frame, placement, self.prep.colour, plane)

    def _fit_pixels(self, source: Pixels, colour: Colour, placement: Placement, out: Pixels, by: int = 1) -> None:
        """Bring pixels, reduced ``by`` from the frame's size, to the size and colour order of ``out``."""
        if placement.crops:
            top, left = placement.crop_top // by, placement.crop_left // by
            bottom = -(-(placement.crop_top + placement.crop_height) // by)
            right = -(-(placement.crop_left + placement.crop_width) // by)
            source = source[top:bottom, left:right]
        if colour is self.prep.colour:
            self._resize(source, placement, out)
        else:
            convert(self._resize(source, placement, None), colour, self.prep.colour, out)

    def _reduction(self, placement: Placement) -> int:
        """Return by how much a JPEG may be reduced: not below the input's size, and not where pixels are picked.

        Nor by what does not divide the frame: the last pixels of the reduced picture would lie outside it.
        """
        if self.prep.interpolation is Interpolation.NEAREST:
            return 1
        fits = (
            by
            for by in REDUCTIONS
            if placement.frame_width % by == placement.frame_height % by == 0
            and placement.crop_width >= by * placement.width
            and placement.crop_height >= by * placement.height
        )
        return next(fits, 1)

    def _resize(self, source: Pixels, placement: Placement, out: Pixels | None) -> Pixels:
        size = (placement.width, placement.height)
        if source.shape[1::-1] == size:
            if out is None:
                return source
            out[...] = source
            return out
        if out is None:
            shape = (size[1], size[0], *source.shape[2:])
            out = self._resized.get(shape)
            if out is None:
                out = self._resized[shape] = np.empty(shape, np.uint8)
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
