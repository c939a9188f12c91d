"""Predictions drawn into pictures, readable on any background."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from device_runtime.contract.prediction import Item, Prediction
from device_runtime.vision.frame import Pixels
from device_runtime.vision.placement import Mask

Bgr = tuple[int, int, int]

# Okabe and Ito's palette (2008), told apart with every kind of colour vision; as BGR.
_PALETTE: tuple[Bgr, ...] = (
    (0, 159, 230),
    (233, 180, 86),
    (115, 158, 0),
    (66, 228, 240),
    (178, 114, 0),
    (0, 94, 213),
    (167, 121, 204),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK = (255, 255, 255)
_SHADE = (24, 24, 24)
_TINT = 0.45
"""How much of a class's colour lies over the picture: the class is plain, and what is below can still be seen."""

_BACKGROUND = ("background", "bg", "unlabeled", "void")


def draw(picture: Pixels, prediction: Prediction) -> None:
    """Draw ``prediction`` into ``picture``, (H, W, 3) uint8 BGR.

    Boxes get their names; classes of pixels a tint, an outline and a legend; anything else is a list.
    """
    unit = max(1.0, min(picture.shape[:2]) / 480)
    boxed = [item for item in prediction.items if item.box is not None]
    for item in reversed(boxed):  # the best one on top
        _draw_box(picture, item, unit)
    listed = [] if boxed else list(prediction.items)
    if prediction.mask is not None:
        listed = [item for item in listed if not _is_background(item)]
        _draw_mask(picture, prediction.mask.in_frame(), listed, unit)
    _draw_list(picture, listed, unit, swatches=prediction.mask is not None)
    invoke = prediction.timings_ms.get("invoke")
    if invoke is not None:
        corner = (round(8 * unit), picture.shape[0] - round(10 * unit))
        _label(picture, f"frame {prediction.frame_index}  model {invoke:.1f} ms", corner, _SHADE, unit)


def _draw_box(picture: Pixels, item: Item, unit: float) -> None:
    if item.box is None:
        return
    x1, y1, x2, y2 = (round(value) for value in item.box)
    colour = _colour_of(item)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, max(2, round(2 * unit)), cv2.LINE_AA)
    above = y1 - round(6 * unit)
    _label(picture, _text(item), (x1 + 2, above if above > round(14 * unit) else y1 + round(18 * unit)), colour, unit)


def _draw_mask(picture: Pixels, mask: Mask, items: Sequence[Item], unit: float) -> None:
    """Tint and outline the pixels of each item's class; the outlines on top of all tints."""
    if mask.shape != picture.shape[:2]:
        return
    outlines = []
    for item in items:
        where = (mask == item.index).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(where)
        part = picture[y : y + height, x : x + width]
        if not part.size:
            continue
        plain = np.full_like(part, _colour_of(item))
        tinted = cv2.addWeighted(part, 1 - _TINT, plain, _TINT, 0)
        cv2.copyTo(tinted, where[y : y + height, x : x + width], part)
        outlines.append((cv2.findContours(where, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0], _colour_of(item)))
    for lines, colour in outlines:
        weight = max(1, round(1.5 * unit))
        cv2.drawContours(picture, lines, -1, _SHADE, weight + 2, cv2.LINE_AA)
        cv2.drawContours(picture, lines, -1, colour, weight, cv2.LINE_AA)


def _draw_list(picture: Pixels, items: Sequence[Item], unit: float, *, swatches: bool) -> None:
    """Write one line for each item, as many as there is room for."""
    step = 24 * unit
    room = max(1, int((picture.shape[0] - 34 * unit) / step))
    for row, item in enumerate(items[:room]):
        text = _text(item)
        if row == room - 1 and len(items) > room:
            text = f"and {len(items) - row} more"
        left, base = round(8 * unit), round(24 * unit + step * row)
        if swatches:
            side = round(14 * unit)
            corner = (left - 3, base - side)
            cv2.rectangle(picture, corner, (corner[0] + side, base + round(3 * unit)), _colour_of(item), cv2.FILLED)
            left += side + 1
        _label(picture, text, (left, base), _SHADE, unit)


def _label(picture: Pixels, text: str, at: tuple[int, int], background: Bgr, unit: float) -> None:
    """Write ``text`` on a filled box with its baseline at ``at``, moved so that it lies inside the picture."""
    scale, weight = 0.5 * unit, max(1, round(unit))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, weight)
    x = max(2, min(at[0], picture.shape[1] - width - 4))
    y = max(height + 3, min(at[1], picture.shape[0] - below - 2))
    cv2.rectangle(picture, (x - 3, y - height - 3), (x + width + 3, y + below), background, cv2.FILLED)
    luma = 0.114 * background[0] + 0.587 * background[1] + 0.299 * background[2]  # ITU-R BT.601
    cv2.putText(picture, text, (x, y), _FONT, scale, _SHADE if luma > 140 else _INK, weight, cv2.LINE_AA)


def _colour_of(item: Item) -> Bgr:
    """Return the palette's colour of a class: as it is, in a second round lighter, in a third one darker."""
    around, place = divmod(item.index, len(_PALETTE))
    towards, much = ((0, 0.0), (255, 0.5), (0, 0.35))[around % 3]
    blue, green, red = (round(value + (towards - value) * much) for value in _PALETTE[place])
    return blue, green, red


def _is_background(item: Item) -> bool:
    """Whether a class is what is behind the objects: by its name, or as number 0 where classes have no names."""
    return item.label.strip("_ ").lower() in _BACKGROUND or (item.index == 0 and item.label == "0")


def _text(item: Item) -> str:
    # cv2's fonts know ASCII only.
    name = item.label.encode("ascii", "replace").decode()
    if item.area is not None:
        return f"{name} {item.area:.0%}" if item.area >= 0.01 else f"{name} <1%"
    return f"{name} {item.value:.4g}" if item.value is not None else f"{name} {item.score or 0:.2f}"
