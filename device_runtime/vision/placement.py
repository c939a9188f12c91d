"""Where a frame lies in the model's input: from frame pixels to model pixels and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import ImagePrep, Resize

Boxes = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]
"""(n, k, 3) x, y and score (0–1) of the k points of each of n poses."""

Mask = npt.NDArray[np.unsignedinteger[Any]]
"""(H, W) class ids, uint8 or uint16; the dtype's highest value stands for no class."""


def no_class(mask: Mask) -> int:
    """Return the id that stands for no class in a mask: the highest of its dtype."""
    return int(np.iinfo(mask.dtype).max)


@dataclass(frozen=True, slots=True)
class Placement:
    """A part of the frame, scaled onto a part of the input.

    The source rectangle (``crop_*``, frame px) is scaled onto the target rectangle (``left``, ``top``, ``width``,
    ``height``, input px); what the target leaves uncovered is padding.
    """

    frame_width: int
    frame_height: int
    crop_left: int
    crop_top: int
    crop_width: int
    crop_height: int
    left: int
    top: int
    width: int
    height: int

    @property
    def crops(self) -> bool:
        """Whether a part of the frame is left out."""
        return (self.crop_width, self.crop_height) != (self.frame_width, self.frame_height)

    def boxes_to_frame(self, boxes: Boxes, prep: ImagePrep) -> Boxes:
        """Map boxes from the input to the frame.

        Args:
            boxes: (n, 4) float32 x1 y1 x2 y2, fractions (0–1) of the input's width and height.
            prep: the preparation that this placement is for.

        Returns:
            (n, 4) float32 x1 y1 x2 y2 in frame px, clipped to the frame.
        """
        factor, offset, limit = self._mapping(prep)
        corners = boxes.reshape(-1, 2, 2) * factor + offset
        np.clip(corners, 0.0, limit, out=corners)
        return corners.astype(np.float32).reshape(-1, 4)

    def points_to_frame(self, points: Points, prep: ImagePrep) -> Points:
        """Map the points of poses from the input to the frame.

        Args:
            points: (n, k, 3) float32 x y score, x and y as fractions (0–1) of the input's width and height.
            prep: the preparation that this placement is for.

        Returns:
            (n, k, 3) float32 x y score, x and y in frame px, clipped to the frame.
        """
        factor, offset, limit = self._mapping(prep)
        mapped: Points = points.astype(np.float32)
        mapped[..., :2] = np.clip(mapped[..., :2] * factor + offset, 0.0, limit)
        return mapped

    def _mapping(self, prep: ImagePrep) -> tuple[Exact, Exact, Exact]:
        """Return factor and offset, each (2,) x y, from fractions of the input to frame px, and the frame's size.

        In float64: where a long frame fills little of the input, both are large, and nearly cancel each other.
        """
        scale_x = self.crop_width / self.width
        scale_y = self.crop_height / self.height
        return (
            np.array([prep.width * scale_x, prep.height * scale_y]),
            np.array([self.crop_left - self.left * scale_x, self.crop_top - self.top * scale_y]),
            np.array([self.frame_width, self.frame_height], np.float64),
        )

    def boxes_to_input(self, boxes: Boxes, prep: ImagePrep) -> Boxes:
        """Map (n, 4) float32 x1 y1 x2 y2 frame px to fractions of the input: the inverse of ``boxes_to_frame``.

        Nothing is clipped: a box outside the crop lies outside 0–1.
        """
        factor, offset, _ = self._mapping(prep)
        corners = (boxes.reshape(-1, 2, 2) - offset) / factor
        return corners.astype(np.float32).reshape(-1, 4)

    def seen_cells(self, shape: tuple[int, ...], prep: ImagePrep) -> tuple[slice, slice]:
        """Return the rows and columns of a mask that are not all padding.

        Args:
            shape: (h, w) of the mask; it covers the whole input, and need not have its size.
            prep: the preparation that this placement is for.
        """
        rows, columns = shape[0] / prep.height, shape[1] / prep.width
        return (
            slice(math.floor(self.top * rows), math.ceil((self.top + self.height) * rows)),
            slice(math.floor(self.left * columns), math.ceil((self.left + self.width) * columns)),
        )

    def mask_to_input(self, mask: Mask, prep: ImagePrep) -> Mask:
        """Map class ids from the frame to the input: each input pixel takes the frame pixel that is at its centre.

        Args:
            mask: (frame_height, frame_width).
            prep: the preparation that this placement is for.

        Returns:
            (height, width) of the input, the same dtype; its highest value in the padding.
        """
        across = (np.arange(self.width) + 0.5) * (self.crop_width / self.width) + self.crop_left
        down = (np.arange(self.height) + 0.5) * (self.crop_height / self.height) + self.crop_top
        whole: Mask = np.full((prep.height, prep.width), no_class(mask), mask.dtype)
        seen = mask.take(across.astype(np.intp), axis=1).take(down.astype(np.intp), axis=0)
        whole[self.top : self.top + self.height, self.left : self.left + self.width] = seen
        return whole

    def mask_to_frame(self, mask: Mask, prep: ImagePrep) -> Mask:
        """Map class ids from the input to the frame: each pixel takes the cell that its centre falls into.

        Args:
            mask: (h, w); it covers the whole input, and need not have its size.
            prep: the preparation that this placement is for.

        Returns:
            (frame_height, frame_width), the same dtype; its highest value where the frame was cropped.
        """
        across = (np.arange(self.crop_width) + 0.5) * (self.width / self.crop_width) + self.left
        down = (np.arange(self.crop_height) + 0.5) * (self.height / self.crop_height) + self.top
        columns = (across * (mask.shape[1] / prep.width)).astype(np.intp)
        rows = (down * (mask.shape[0] / prep.height)).astype(np.intp)
        # The mask's few rows are widened first, then whole rows are repeated: cheaper than cell by cell.
        seen: Mask = mask.take(columns, axis=1).take(rows, axis=0)
        if not self.crops:
            return seen
        whole: Mask = np.full((self.frame_height, self.frame_width), no_class(mask), mask.dtype)
        whole[self.crop_top : self.crop_top + self.crop_height, self.crop_left : self.crop_left + self.crop_width] = (
            seen
        )
        return whole


@dataclass(frozen=True, slots=True, eq=False)
class PlacedMask:
    """A mask (see ``Mask``) over a model's input, brought to the frame only when somebody looks at it."""

    ids: Mask
    prep: ImagePrep
    placement: Placement

    def in_frame(self) -> Mask:
        """Return (frame_height, frame_width) class ids; the dtype's highest value where the model did not see."""
        return self.placement.mask_to_frame(self.ids, self.prep)


def plan_placement(prep: ImagePrep, frame_width: int, frame_height: int) -> Placement:
    """Decide which part of a ``frame_width`` x ``frame_height`` px frame goes where in the input.

    LETTERBOX keeps the aspect and centres; odd padding puts the extra pixel at the right and bottom. CENTER_CROP
    takes the largest central rectangle with the input's aspect, times ``prep.crop_fraction``. No side is ever less
    than one pixel.
    """
    crop = (0, 0, frame_width, frame_height)
    target = (0, 0, prep.width, prep.height)
    if prep.resize is Resize.LETTERBOX:
        scale = min(prep.width / frame_width, prep.height / frame_height)
        width = min(prep.width, max(1, round(frame_width * scale)))
        height = min(prep.height, max(1, round(frame_height * scale)))
        target = ((prep.width - width) // 2, (prep.height - height) // 2, width, height)
    elif prep.resize is Resize.CENTER_CROP:
        scale = min(frame_width / prep.width, frame_height / prep.height) * prep.crop_fraction
        width = min(frame_width, max(1, round(prep.width * scale)))
        height = min(frame_height, max(1, round(prep.height * scale)))
        crop = ((frame_width - width) // 2, (frame_height - height) // 2, width, height)
    return Placement(frame_width, frame_height, *crop, *target)
