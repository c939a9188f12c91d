"""Bolts, nuts, washers and gears as small shaded pictures, for the synthetic belt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from device_runtime.vision.frame import Pixels

PART_LABELS = ("bolt", "nut", "washer", "gear", "broken-gear")
"""What lies on the belt; a label index points here. A ``broken-gear`` has lost a run of its teeth."""

Plane = npt.NDArray[np.float32]

_SUPERSAMPLING = 2  # threads and teeth are a few pixels wide: drawn at one sample per pixel they flicker
_MARGIN_PX = 3
_LIGHT_ELEVATION_DEG = 52.0
_HIGHLIGHT = 235.0
_BOLT_HEAD_MOST = 0.13 * 1.72  # half the width of the widest head, as a share of the bolt's length

_METALS = (
    (196, 200, 205),  # bright steel
    (172, 176, 182),  # plain steel
    (150, 152, 155),  # worn steel
    (104, 106, 112),  # phosphated
    (206, 190, 140),  # yellow zinc
    (204, 166, 92),  # brass
    (186, 150, 122),  # tempered, straw to brown
)
_METAL_ODDS = (0.25, 0.25, 0.15, 0.1, 0.1, 0.1, 0.05)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A part seen from above: (h, w, 3) uint8 RGB, its (h, w) float32 coverage 0–1, and how high it stands in px."""

    colour: Pixels
    coverage: Plane
    height_px: float


@dataclass(frozen=True, slots=True)
class _Grid:
    """Sample positions about the part's centre in px, along its own axes: ``u`` along, ``v`` across.

    ``radius`` and ``bearing`` (0–2 pi) are the same in polar form; ``angle`` is how far the part is turned.
    """

    u: Plane
    v: Plane
    radius: Plane
    bearing: Plane
    angle: float


@dataclass(frozen=True, slots=True)
class _Solid:
    """A part as a height field: where it is (``outline`` < 0, a distance in px) and how high it is there (px).

    ``turned`` is the strength (0–1) of the marks that a lathe leaves on a flat face.
    """

    outline: Plane
    height: Plane
    turned: float


def reach_px(label: int, size_px: float) -> float:
    """Return how far a part extends from its centre, at most; ``size_px`` is its diameter, or a bolt's length."""
    return size_px * (0.53 if PART_LABELS[label] == "bolt" else 0.5)


def draw_part(label: int, size_px: float, light_deg: float, rng: np.random.Generator) -> Sprite:
    """Draw one part, turned at random and of a random metal.

    Args:
        label: index into ``PART_LABELS``.
        size_px: diameter, or a bolt's length.
        light_deg: where the light comes from: 0 is the right, 90 the bottom of the picture.
        rng: decides about everything else.
    """
    angle = float(rng.uniform(0.0, 2.0 * math.pi))
    grid = _grid(*_half_extents(label, size_px, angle), angle)
    solid = _SHAPES[PART_LABELS[label]](grid, size_px, rng)
    coverage = np.clip(0.5 - solid.outline * _SUPERSAMPLING, 0.0, 1.0)
    tone, highlight = _shade(grid, solid, math.radians(light_deg), rng)
    # Averaged weighted by coverage, so that what lies outside the outline does not bleed in.
    small = _halve(coverage)
    share = 1.0 / np.maximum(small, 1e-3)
    metal = np.array(_METALS[int(rng.choice(len(_METALS), p=_METAL_ODDS))]) * rng.uniform(0.9, 1.06)
    metal = (metal + rng.normal(0.0, 3.0, 3)).astype(np.float32)
    colour = (_halve(tone * coverage) * share)[:, :, None] * metal
    colour += (_halve(highlight * coverage) * share * np.float32(_HIGHLIGHT))[:, :, None]
    return Sprite(np.clip(colour, 0, 255).astype(np.uint8), small, float(solid.height.max()))


def _half_extents(label: int, size: float, angle: float) -> tuple[int, int]:
    """Return half the width and half the height of a picture that holds the part at ``angle``, in whole px."""
    if PART_LABELS[label] != "bolt":
        return (math.ceil(size / 2) + _MARGIN_PX,) * 2
    long, wide = size / 2, size * _BOLT_HEAD_MOST
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    return math.ceil(cosine * long + sine * wide) + _MARGIN_PX, math.ceil(sine * long + cosine * wide) + _MARGIN_PX


def _grid(half_width: int, half_height: int, angle: float) -> _Grid:
    x, y = (
        (np.arange(2 * half * _SUPERSAMPLING, dtype=np.float32) + np.float32(0.5)) / _SUPERSAMPLING - half
        for half in (half_width, half_height)
    )
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    u = cosine * x[None, :] + sine * y[:, None]
    v = cosine * y[:, None] - sine * x[None, :]
    radius: Plane = cv2.magnitude(u, v)  # type: ignore[assignment]  # stubs lack the dtype
    bearing: Plane = cv2.phase(u, v)  # type: ignore[assignment]  # stubs lack the dtype
    return _Grid(u, v, radius, bearing, angle)


def _halve(plane: Plane) -> Plane:
    size = (plane.shape[1] // _SUPERSAMPLING, plane.shape[0] // _SUPERSAMPLING)
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]  # stubs lack the dtype


def _shade(grid: _Grid, solid: _Solid, light: float, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Light a height field as worn metal.

    Returns:
        What the metal's colour is multiplied by (diffuse light, and a blurred room mirrored in the part), and the
        white highlight to add.
    """
    height = cv2.GaussianBlur(solid.height, (0, 0), 0.8)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=_SUPERSAMPLING / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=_SUPERSAMPLING / 8)
    low, high = math.cos(math.radians(_LIGHT_ELEVATION_DEG)), math.sin(math.radians(_LIGHT_ELEVATION_DEG))
    upright = 1.0 / np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
    # How far the surface leans towards the light, and how directly it faces it.
    lean = -(slope_x * np.float32(math.cos(light)) + slope_y * np.float32(math.sin(light))) * upright
    diffuse = np.maximum(lean * np.float32(low) + upright * np.float32(high), 0.0)
    # Blinn-Phong (Blinn 1977): the half vector between the light and a camera that looks straight down.
    half = math.sqrt(2.0 + 2.0 * high)
    glint = np.maximum((lean * np.float32(low) + upright * np.float32(high + 1.0)) / np.float32(half), 0.0)
    highlight: Plane = cv2.pow(glint, float(rng.uniform(18, 60))) * np.float32(rng.uniform(0.2, 0.5))
    room = 0.5 + 0.5 * np.sin(6.2 * upright * lean + np.float32(rng.uniform(-0.5, 0.7)))
    if solid.turned:
        # A turned face scatters across its grooves: two bright wedges that point at and away from the light.
        wedges = np.cos(grid.bearing + np.float32(grid.angle - light + rng.uniform(-0.3, 0.3)))
        wedges *= wedges
        grooves = np.sin(grid.radius * np.float32(rng.uniform(2.2, 3.4))) * np.float32(0.04)
        room += np.float32(solid.turned) * upright * (0.55 * wedges * wedges * wedges - 0.18 + grooves)
    grime = np.clip(_blotches(rng, *height.shape) - 0.45, 0.0, 1.0) * np.float32(-rng.uniform(0.1, 0.7)) + 1.0
    tone: Plane = (0.22 + 0.52 * diffuse + np.float32(rng.uniform(0.22, 0.37)) * room) * grime
    return tone, highlight


def _blotches(rng: np.random.Generator, rows: int, columns: int) -> Plane:
    coarse = cv2.resize(rng.random((6, 6), np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(
        rng.random((rows // 3 + 1, columns // 3 + 1), np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR
    )
    return cv2.addWeighted(coarse, 0.7, fine, 0.3, 0.0)  # type: ignore[return-value]  # stubs lack the dtype


def _bevelled(outline: Plane, top: float, bevel: float) -> Plane:
    """Height of a plate with a rounded edge: 0 outside, ``top`` from ``bevel`` px inside the outline on."""
    inside = np.clip(-outline / bevel, 0.0, 1.0)
    height: Plane = np.float32(top) * np.sqrt(np.maximum(1.0 - (1.0 - inside) ** 2, 0.0))
    return height


def _washer(grid: _Grid, size: float, rng: np.random.Generator) -> _Solid:
    outer = size / 2
    hole = outer * float(rng.uniform(0.48, 0.6))
    outline = np.maximum(grid.radius - outer, hole - grid.radius)
    return _Solid(outline, _bevelled(outline, 0.035 * size, 0.035 * size), float(rng.uniform(0.5, 1.0)))


def _nut(grid: _Grid, size: float, rng: np.random.Generator) -> _Solid:
    apothem = size / 2 * math.cos(math.pi / 6)
    sides = [np.abs(math.cos(a) * grid.u + math.sin(a) * grid.v) for a in (0.0, math.pi / 3, -math.pi / 3)]
    hexagon = np.maximum(np.maximum(sides[0], sides[1]), sides[2]) - apothem
    hole = apothem * float(rng.uniform(0.5, 0.58))
    outline = np.maximum(hexagon, hole - grid.radius)
    top = 0.28 * size
    # The corners are chamfered at 30 degrees from the inscribed circle on (ISO 4032); the bore is countersunk.
    chamfer = np.maximum(grid.radius - 0.95 * apothem, 0.0) * 0.58
    countersink = np.maximum(hole * 1.18 - grid.radius, 0.0) * 1.0
    height = _bevelled(outline, top, 0.05 * size) - chamfer - countersink
    return _Solid(outline, np.where(outline < 1.0, height, 0.0).astype(np.float32), float(rng.uniform(0.2, 0.7)))


def _bolt(grid: _Grid, size: float, rng: np.random.Generator) -> _Solid:
    shank = size * float(rng.uniform(0.1, 0.13))
    head_half, head_long = shank * 1.72, shank * 1.35
    start = -size / 2
    across = np.abs(grid.v)
    head = np.maximum(np.abs(grid.u - (start + head_long / 2)) - head_long / 2, across - head_half)
    tip = np.maximum(grid.u - (size / 2 - shank * 0.45), 0.0)
    rod = np.maximum(grid.u - size / 2, np.maximum(start + head_long - grid.u, across - shank + tip * 0.7))
    smooth = start + head_long + (size - head_long) * float(rng.uniform(0.0, 0.4))
    pitch = max(size * 0.05, 3.6)
    # The helix shows as grooves that lean by one pitch over the width of the rod.
    turns = (grid.u + grid.v * (pitch / (2.0 * shank))) * np.float32(2.0 * math.pi / pitch)
    thread = np.where(grid.u > smooth, np.sin(turns), 0.0) * (pitch * 0.22)
    rod_height = np.sqrt(np.maximum(shank**2 - across**2, 0.0)) + shank * 0.7 + thread
    # A hexagon lying on a flat: its upper face is half as wide as the head, the next ones fall off at 60 degrees.
    head_height = shank * 0.7 + head_half * 0.9 - np.maximum(across - head_half * 0.5, 0.0) * 1.5
    head_height = head_height - np.maximum(shank * 0.22 + head, 0.0) * 0.8
    height = np.where(head < 0.0, np.maximum(head_height, 0.0), rod_height)
    outline = np.minimum(head, rod)
    return _Solid(outline, np.where(outline < 1.0, height, 0.0).astype(np.float32), 0.0)


def _gear(grid: _Grid, size: float, rng: np.random.Generator) -> _Solid:
    return _toothed(grid, size, rng, missing=0)


def _broken_gear(grid: _Grid, size: float, rng: np.random.Generator) -> _Solid:
    return _toothed(grid, size, rng, missing=int(rng.integers(3, 5)))


def _toothed(grid: _Grid, size: float, rng: np.random.Generator, *, missing: int) -> _Solid:
    """Return a spur gear, of which ``missing`` neighbouring teeth broke off with a bite of the rim."""
    teeth = int(rng.integers(11, 15))
    outer = size / 2
    root = outer * float(rng.uniform(0.77, 0.8))
    pitch = 2.0 * math.pi / teeth
    number = np.round(grid.bearing / np.float32(pitch))
    arc = np.abs(grid.bearing - number * np.float32(pitch)) * grid.radius
    base, point = 0.36 * pitch * root, 0.2 * pitch * outer
    width = base + (point - base) * np.clip((grid.radius - root) / (outer - root), 0.0, 1.0)
    tooth = np.maximum(grid.radius - outer, arc - width)
    rim = grid.radius - root
    if missing:
        rough = 0.014 * size * (np.sin(grid.bearing * 19 + 1.3) + 0.7 * np.sin(grid.bearing * 31))
        gone = np.isin(np.mod(number, teeth), np.arange(missing))
        tooth = np.where(gone, np.float32(size), tooth)
        middle = (missing - 1) / 2 * pitch
        bite_u, bite_v = 1.1 * root * math.cos(middle), 1.1 * root * math.sin(middle)
        bite = cv2.magnitude(grid.u - np.float32(bite_u), grid.v - np.float32(bite_v))
        rim = np.maximum(rim + np.where(gone, rough * 0.5, 0.0), 0.36 * root + rough - bite)
    outline = np.minimum(rim, tooth)
    bore = outer * float(rng.uniform(0.2, 0.27))
    key = np.maximum(np.abs(grid.v) - bore * 0.3, np.abs(grid.u - bore) - bore * 0.4)
    outline = np.maximum(outline, -np.minimum(grid.radius - bore, key))
    hub, web = outer * 0.42, outer * 0.63
    if rng.random() < 0.45:
        holes = int(rng.integers(4, 7))
        spread = np.round(grid.bearing / np.float32(2 * math.pi / holes)) * np.float32(2 * math.pi / holes)
        ring = (hub + web) / 2
        hole = cv2.magnitude(grid.u - ring * np.cos(spread), grid.v - ring * np.sin(spread)) - outer * 0.105
        outline = np.maximum(outline, -hole)
    height = _bevelled(outline, 0.13 * size, 0.04 * size)
    sink = np.clip(np.minimum(grid.radius - hub, web - grid.radius) / (0.03 * size), 0.0, 1.0)
    height = height - np.where(outline < 0, sink * (0.045 * size), 0.0)
    return _Solid(outline, np.maximum(height, 0.0).astype(np.float32), float(rng.uniform(0.4, 1.0)))


_SHAPES: dict[str, Callable[[_Grid, float, np.random.Generator], _Solid]] = {
    "bolt": _bolt,
    "nut": _nut,
    "washer": _washer,
    "gear": _gear,
    "broken-gear": _broken_gear,
}
