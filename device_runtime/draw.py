"""Predictions drawn into pictures, readable on any background."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from device_runtime.contract.prediction import Item, Prediction
from device_runtime.contract.service import Region
from device_runtime.tasks.pose import SEEN
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
_ALARM = (0, 94, 213)
_REGION = (255, 255, 255)
_TINT = 0.45
"""How much of a class's colour lies over the picture: the class is plain, and what is below can still be seen."""

_COCO_POINTS = 17
_LIMBS = (
    (0, 1), (0, 2), (1, 3), (2, 4),
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12),
    (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Which of COCO's 17 key points (nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles) make a limb: the
skeleton of its person_keypoints annotations, without those from ear to shoulder and between the eyes."""

_BACKGROUND = ("background", "bg", "unlabeled", "void")


def draw(picture: Pixels, prediction: Prediction, regions: Mapping[str, Region] | None = None) -> None:
    """Draw ``prediction`` into ``picture``, (H, W, 3) uint8 BGR.

    Boxes and poses get their names and track numbers; classes of pixels a tint, an outline and a legend; anything else
    is a list. ``regions`` are outlined and named; the rules of events are told in the upper right corner.
    """
    unit = max(1.0, min(picture.shape[:2]) / 480)
    for name, region in (regions or {}).items():
        _draw_region(picture, name, region, unit)
    placed = [item for item in prediction.items if item.box is not None or item.points]
    for place in range(len(placed) - 1, -1, -1):  # the best one on top
        if placed[place].points:
            _draw_pose(picture, placed[place], place, unit)
        else:
            _draw_box(picture, placed[place], unit)
    listed = [] if placed else list(prediction.items)
    if prediction.mask is not None:
        listed = [item for item in listed if not _is_background(item)]
        _draw_mask(picture, prediction.mask.in_frame(), listed, unit)
    _draw_list(picture, listed, unit, swatches=prediction.mask is not None)
    for row, event in enumerate(prediction.events):
        text = _ascii(f"{event.rule}: {event.item.label} {'begins' if event.phase == 'begin' else 'ends'}")
        _label(picture, (text,), (picture.shape[1], round((24 + 24 * row) * unit)), _ALARM, unit)
    invoke = prediction.timings_ms.get("invoke")
    if invoke is not None:
        corner = (round(8 * unit), picture.shape[0] - round(10 * unit))
        words = (f"model {invoke:.1f} ms", f"frame {prediction.frame_index}")
        _label(picture, words, corner, _SHADE, unit, keep=False)


def _draw_box(picture: Pixels, item: Item, unit: float) -> None:
    if item.box is None:
        return
    x1, y1, x2, y2 = (round(value) for value in item.box)
    colour = _colour_of(item.index)
    # Lines of 1 px, one inside the other, cost a third of a thick one (3 µs, not 9; 24 smoothed) and look the same.
    for inset in range(max(2, round(2.2 * unit))):
        if x2 - x1 < 2 * inset or y2 - y1 < 2 * inset:
            break
        cv2.rectangle(picture, (x1 + inset, y1 + inset), (x2 - inset, y2 - inset), colour)
    _name(picture, item, (x1, y1), colour, unit)


def _draw_pose(picture: Pixels, item: Item, place: int, unit: float) -> None:
    """Draw the points that are seen, and the limbs between them where they are those of COCO's 17."""
    points = item.points or ()
    seen = [(round(x), round(y)) if score >= SEEN else None for x, y, score in points]
    colour = _colour_of((item.track or place + 1) - 1)
    weight = max(2, round(2 * unit))
    if len(points) == _COCO_POINTS:
        limbs = [np.array([seen[one], seen[two]], np.int32) for one, two in _LIMBS if seen[one] and seen[two]]
        cv2.polylines(picture, limbs, isClosed=False, color=_SHADE, thickness=weight + 3)
        cv2.polylines(picture, limbs, isClosed=False, color=colour, thickness=weight, lineType=cv2.LINE_AA)
    for point in seen:
        if point is not None:
            cv2.circle(picture, point, weight + 2, _SHADE, cv2.FILLED)
            cv2.circle(picture, point, weight + 1, colour, cv2.FILLED, cv2.LINE_AA)
    if item.box is not None:
        _name(picture, item, (round(item.box[0]), round(item.box[1]) - 2 * weight), colour, unit)


def _name(picture: Pixels, item: Item, corner: tuple[int, int], colour: Bgr, unit: float) -> None:
    """Write what an item is above its left upper corner, or below it where there is no room above."""
    above = corner[1] - round(4 * unit)
    at = (corner[0] + _margin(unit), above if above > round(16 * unit) else corner[1] + round(18 * unit))
    _label(picture, _parts(item), at, colour, unit)


def _draw_region(picture: Pixels, name: str, region: Region, unit: float) -> None:
    corners = _corners(region, picture.shape[1], picture.shape[0])
    weight = max(1, round(1.5 * unit))
    cv2.polylines(picture, [corners], isClosed=True, color=_SHADE, thickness=weight + 2)
    cv2.polylines(picture, [corners], isClosed=True, color=_REGION, thickness=weight)
    first = corners[corners.sum(axis=1).argmin()]
    at = (int(first[0]) + round(6 * unit), int(first[1]) + round(20 * unit))
    _label(picture, (_ascii(name),), at, _SHADE, unit)


@functools.lru_cache(maxsize=64)
def _corners(region: Region, width: int, height: int) -> npt.NDArray[np.int32]:
    """Return a region's corners (n, 2) x y in px of a picture, inside it."""
    scaled = np.array(region.corners) * (width, height)
    return np.minimum(np.rint(scaled), (width - 1, height - 1)).astype(np.int32)


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
        plain = np.full_like(part, _colour_of(item.index))
        tinted = cv2.addWeighted(part, 1 - _TINT, plain, _TINT, 0)
        cv2.copyTo(tinted, where[y : y + height, x : x + width], part)
        outlines.append((cv2.findContours(where, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[0], _colour_of(item.index)))
    for lines, colour in outlines:
        weight = max(1, round(1.5 * unit))
        cv2.drawContours(picture, lines, -1, _SHADE, weight + 2, cv2.LINE_AA)
        cv2.drawContours(picture, lines, -1, colour, weight, cv2.LINE_AA)


def _draw_list(picture: Pixels, items: Sequence[Item], unit: float, *, swatches: bool) -> None:
    """Write one line for each item, as many as there is room for."""
    step = 24 * unit
    room = max(1, int((picture.shape[0] - 34 * unit) / step))
    for row, item in enumerate(items[:room]):
        parts: tuple[str, ...] = _parts(item)
        if row == room - 1 and len(items) > room:
            parts = (f"and {len(items) - row} more",)
        left, base = round(8 * unit), round(24 * unit + step * row)
        if swatches:
            side = round(14 * unit)
            corner = (left - 3, base - side)
            cv2.rectangle(
                picture, corner, (corner[0] + side, base + round(3 * unit)), _colour_of(item.index), cv2.FILLED
            )
            left += side + 1
        _label(picture, parts, (left, base), _SHADE, unit, keep=item.value is None)


def _label(
    picture: Pixels, parts: Sequence[str], at: tuple[int, int], background: Bgr, unit: float, *, keep: bool = True
) -> None:
    """Write ``parts`` one after another on a filled box with its baseline at ``at``, moved to lie inside the picture.

    What is written again and again (names, scores of two digits) is drawn once, and copied from then on: 1 µs a part
    instead of 12. ``keep=False`` is for what hardly comes again.
    """
    written = [(_written if keep else _written.__wrapped__)(part, background, unit) for part in parts]
    width = sum(part.shape[1] for part in written)
    height = written[0].shape[0]
    x = max(0, min(at[0] - _margin(unit), picture.shape[1] - width))
    y = max(0, min(at[1] - height + _below(unit), picture.shape[0] - height))
    for part in written:
        target = picture[y : y + height, x : x + part.shape[1]]
        target[...] = part[: target.shape[0], : target.shape[1]]
        x += part.shape[1]


@functools.lru_cache(maxsize=256)
def _written(text: str, background: Bgr, unit: float) -> Pixels:
    """Return ``text`` on its background, (h, w, 3) uint8 BGR; h is the same for all texts of a unit."""
    scale, weight = 0.5 * unit, max(1, round(unit))
    (width, height), _ = cv2.getTextSize(text or " ", _FONT, scale, weight)  # the height is the font's
    margin = _margin(unit)
    picture: Pixels = np.empty((height + margin + _below(unit), width + 2 * margin, 3), np.uint8)
    cv2.rectangle(picture, (0, 0), picture.shape[1::-1], background, cv2.FILLED)
    luma = 0.114 * background[0] + 0.587 * background[1] + 0.299 * background[2]  # ITU-R BT.601
    ink = _SHADE if luma > 140 else _INK
    cv2.putText(picture, text, (margin, height + margin), _FONT, scale, ink, weight, cv2.LINE_AA)
    return picture


def _margin(unit: float) -> int:
    """Return the space around a text in px."""
    return round(3 * unit)


def _below(unit: float) -> int:
    """Return how far a label reaches below its baseline, in px."""
    return round(5 * unit)


@functools.lru_cache(maxsize=1024)
def _colour_of(index: int) -> Bgr:
    """Return the palette's colour of a class: as it is, in a second round lighter, in a third one darker."""
    around, place = divmod(index, len(_PALETTE))
    towards, much = ((0, 0.0), (255, 0.5), (0, 0.35))[around % 3]
    blue, green, red = (round(value + (towards - value) * much) for value in _PALETTE[place])
    return blue, green, red


def _is_background(item: Item) -> bool:
    """Whether a class is what is behind the objects: by its name, or as number 0 where classes have no names."""
    return item.label.strip("_ ").lower() in _BACKGROUND or (item.index == 0 and item.label == "0")


def _parts(item: Item) -> tuple[str, str]:
    """Return an item's name, and what is said of it."""
    name = _ascii(item.label)
    if item.track is not None:
        name = f"{name} #{item.track}"
    if item.area is not None:
        return name, f"{item.area:.0%}" if item.area >= 0.01 else "<1%"
    return name, f"{item.value:.4g}" if item.value is not None else f"{item.score or 0:.2f}"


def _ascii(text: str) -> str:
    # cv2's fonts know ASCII only.
    return text.encode("ascii", "replace").decode()
