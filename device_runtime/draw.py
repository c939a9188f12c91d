"""Predictions drawn into pictures, readable on any background."""

from __future__ import annotations

import cv2

from device_runtime.contract.prediction import Item, Prediction
from device_runtime.vision.frame import Pixels

# Okabe and Ito's palette (2008), told apart with every kind of colour vision; as BGR.
_PALETTE = (
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


def draw(picture: Pixels, prediction: Prediction) -> None:
    """Draw ``prediction`` into ``picture``, (H, W, 3) uint8 BGR: boxes with names, or the best classes as a list."""
    unit = max(1.0, min(picture.shape[:2]) / 480)
    boxed = [item for item in prediction.items if item.box is not None]
    for item in reversed(boxed):  # the best one on top
        _draw_box(picture, item, unit)
    if not boxed:
        for row, item in enumerate(prediction.items):
            _label(picture, _text(item), (round(8 * unit), round((24 + 24 * row) * unit)), _SHADE, unit)
    invoke = prediction.timings_ms.get("invoke")
    if invoke is not None:
        corner = (round(8 * unit), picture.shape[0] - round(10 * unit))
        _label(picture, f"frame {prediction.frame_index}  model {invoke:.1f} ms", corner, _SHADE, unit)


def _draw_box(picture: Pixels, item: Item, unit: float) -> None:
    if item.box is None:
        return
    x1, y1, x2, y2 = (round(value) for value in item.box)
    colour = _PALETTE[item.index % len(_PALETTE)]
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, max(2, round(2 * unit)), cv2.LINE_AA)
    above = y1 - round(6 * unit)
    _label(picture, _text(item), (x1 + 2, above if above > round(14 * unit) else y1 + round(18 * unit)), colour, unit)


def _label(picture: Pixels, text: str, at: tuple[int, int], background: tuple[int, int, int], unit: float) -> None:
    """Write ``text`` on a filled box with its baseline at ``at``, moved so that it lies inside the picture."""
    scale, weight = 0.5 * unit, max(1, round(unit))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, weight)
    x = max(2, min(at[0], picture.shape[1] - width - 4))
    y = max(height + 3, min(at[1], picture.shape[0] - below - 2))
    cv2.rectangle(picture, (x - 3, y - height - 3), (x + width + 3, y + below), background, cv2.FILLED)
    luma = 0.114 * background[0] + 0.587 * background[1] + 0.299 * background[2]  # ITU-R BT.601
    cv2.putText(picture, text, (x, y), _FONT, scale, _SHADE if luma > 140 else _INK, weight, cv2.LINE_AA)


def _text(item: Item) -> str:
    # cv2's fonts know ASCII only.
    name = item.label.encode("ascii", "replace").decode()
    return f"{name} {item.score:.2f}"
