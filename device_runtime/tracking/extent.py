"""Where in the frame an item is."""

from __future__ import annotations

from device_runtime.contract.prediction import Item

Box = tuple[float, float, float, float]

_FAR_PX = 1e6
"""No frame is that large: what lies beyond is a mistake, and would end in infinity."""

BOXLESS_TASKS = ("classification", "segmentation", "regression")
"""Tasks whose items are of the whole frame."""


def extent_of(item: Item) -> Box | None:
    """Return an item's box, or the box around its points, x1 y1 x2 y2 in frame px; None when it has no place.

    Numbers that are no numbers give None too: a tracker that once took them in would not get rid of them.
    """
    box: Box | None = item.box
    if box is None and item.points:
        xs, ys = [point[0] for point in item.points], [point[1] for point in item.points]
        box = (min(xs), min(ys), max(xs), max(ys))
    if box is None or not all(abs(side) < _FAR_PX for side in box):  # not a number is not below either
        return None
    return box
