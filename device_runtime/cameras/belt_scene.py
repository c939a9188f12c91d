"""Parts on a conveyor belt, rendered: a camera that needs no hardware, and pictures that come with their labels."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

import cv2
import numpy as np

from device_runtime.cameras.belt_parts import PART_LABELS, Plane, Sprite, draw_part, reach_px
from device_runtime.vision.frame import Pixels

__all__ = ["PART_LABELS", "BeltConfig", "BeltLook", "BeltScene", "ScenePart", "random_look", "render_still"]

_REFERENCE_HEIGHT = 480  # sizes below are in px of a frame this high, and scale with it
_SIZES_PX = {"bolt": (92, 132), "nut": (46, 66), "washer": (48, 72), "gear": (88, 122), "broken-gear": (92, 122)}
_ODDS = (0.24, 0.22, 0.2, 0.2, 0.14)
_RAIL_PX = 26
_AREA_PER_PART_PX = 27_000
_LEAST_SHOWN = 0.4
_NOISE_MARGIN_PX = 64
_FLICKER = 0.025

_BELTS = ((58, 72, 66), (38, 42, 48), (40, 66, 70), (78, 82, 84), (34, 58, 44), (96, 92, 84))
"""Belt rubber and PVC in RGB: green-grey, black, petrol, light grey, green, sand."""


@dataclass(frozen=True, slots=True)
class BeltLook:
    """What a picture looks like: light, optics, sensor and belt.

    ``brightness`` multiplies everything; ``warmth`` is -1 (blue) to 1 (orange); ``light_deg`` is where the light
    comes from (0 is the right, 90 the bottom); ``falloff`` is how much darker the far corner is (0–1).
    ``blur_px`` is the standard deviation of the defocus, ``noise`` that of the sensor noise in grey levels.
    ``belt`` chooses the material, ``wear`` (0–1) its scuffs and stains, ``rails`` whether the frame shows the rails.
    """

    brightness: float = 1.3
    warmth: float = 0.1
    light_deg: float = 235.0
    falloff: float = 0.35
    blur_px: float = 0.4
    noise: float = 2.5
    belt: int = 0
    wear: float = 0.5
    rails: bool = True

    def __post_init__(self) -> None:
        if not 0.1 <= self.brightness <= 3.0:
            raise ValueError(f"brightness: expected 0.1–3, got {self.brightness}")
        if not (-1.0 <= self.warmth <= 1.0 and 0.0 <= self.falloff <= 1.0 and 0.0 <= self.wear <= 1.0):
            raise ValueError(
                f"expected warmth -1…1, falloff and wear 0–1, got {self.warmth}, {self.falloff}, {self.wear}"
            )
        if not (0.0 <= self.blur_px <= 10.0 and 0.0 <= self.noise <= 40.0):
            raise ValueError(f"expected blur_px 0–10 and noise 0–40, got {self.blur_px} and {self.noise}")


@dataclass(frozen=True, slots=True)
class BeltConfig:
    """A belt and the camera above it.

    ``seed`` decides about everything random. ``speed_px`` is how far the belt moves to the right per frame.
    ``frames_long`` is the belt's length in frame widths, after which the same parts come round again: belts are
    loops. ``density`` multiplies how many parts lie on it.
    """

    width: int = 640
    height: int = 480
    seed: int = 0
    speed_px: float = 5.0
    frames_long: int = 6
    density: float = 1.0
    look: BeltLook = field(default_factory=BeltLook)

    def __post_init__(self) -> None:
        if not (160 <= self.width <= 4096 and 120 <= self.height <= 4096):
            raise ValueError(f"expected a size of 160x120 to 4096x4096 px, got {self.width}x{self.height}")
        if self.width < self.height:
            raise ValueError(f"expected a width of at least the height, got {self.width}x{self.height}")
        if not (math.isfinite(self.speed_px) and abs(self.speed_px) <= self.width):
            raise ValueError(f"speed_px: expected at most one width ({self.width}) per frame, got {self.speed_px}")
        if not 1 <= self.frames_long <= 64:
            raise ValueError(f"frames_long: expected 1–64, got {self.frames_long}")
        if not 0.0 <= self.density <= 3.0:
            raise ValueError(f"density: expected 0–3, got {self.density}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")


@dataclass(frozen=True, slots=True)
class ScenePart:
    """A part in a frame: ``PART_LABELS[label]``, and its box x1 y1 x2 y2 in frame px, clipped to the frame."""

    label: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a part is to lie, in px of the belt."""

    label: int
    size: float
    x: float
    y: float


class BeltScene:
    """A camera above a conveyor belt: frame ``index`` is always the same picture, and neighbours make a video.

    The whole belt is drawn once, parts, shadows and blur included; a frame is a window on it under a fixed light,
    with fresh sensor noise. Drawing the belt takes about half a second, a 640x480 frame a few milliseconds.
    """

    def __init__(self, config: BeltConfig | None = None) -> None:
        self.config = config or BeltConfig()
        rng = np.random.default_rng([self.config.seed, 0])
        self._loop = self.config.width * self.config.frames_long
        belt, boxes = _draw_belt(self.config, self._loop, rng)
        # The start is repeated behind the end, so that every window is one slice.
        self._belt: Pixels = np.concatenate([belt, belt[:, : self.config.width]], axis=1)
        self._parts = boxes
        self._light = _light_map(self.config)
        self._rails = _draw_rails(self.config, self._light, rng) if self.config.look.rails else None
        self._noise = _noise_bank(self.config, rng)

    def render(self, index: int) -> tuple[Pixels, tuple[ScenePart, ...]]:
        """Return frame ``index``: (height, width, 3) uint8 RGB, and the parts that it shows.

        A part is listed when at least 40% of it is in the frame. Boxes are those of whole parts, also where
        another part lies on top, clipped to the frame.
        """
        config = self.config
        start = round(-index * config.speed_px) % self._loop
        window = self._belt[:, start : start + config.width]
        lit = cv2.multiply(window, self._light, scale=1.0 / 128.0)
        if self._rails is not None:
            rows = self._rails.shape[0] // 2
            lit[:rows] = self._rails[:rows]
            lit[-rows:] = self._rails[rows:]
        rng = np.random.default_rng([config.seed, 1, index % (1 << 63)])
        top, left = (int(value) for value in rng.integers(0, _NOISE_MARGIN_PX, 2))
        noise = self._noise[top : top + config.height, left : left + config.width]
        # Lamps on mains current beat against the shutter: the brightness breathes a little.
        gain = 1.0 + _FLICKER * math.sin(index * 0.37) * math.sin(index * 0.11 + 1.0)
        frame: Pixels = cv2.addWeighted(lit, gain, noise, 1.0, -128.0)  # type: ignore[assignment]  # stubs lack the dtype
        return frame, self._shown(start)

    def _shown(self, start: int) -> tuple[ScenePart, ...]:
        width, height = self.config.width, self.config.height
        shown = []
        for part in self._parts:
            left, top, right, bottom = part.box
            # A part across the joint shows on both sides of it.
            for shift in (-self._loop - start, -start, self._loop - start):
                x1, x2 = max(left + shift, 0.0), min(right + shift, float(width))
                y1, y2 = max(top, 0.0), min(bottom, float(height))
                if (x2 - x1) * (y2 - y1) >= _LEAST_SHOWN * (right - left) * (bottom - top) and x2 > x1:
                    shown.append(ScenePart(part.label, (x1, y1, x2, y2)))
        return tuple(shown)


def render_still(seed: int, width: int = 640, height: int = 480) -> tuple[Pixels, tuple[ScenePart, ...]]:
    """Return a picture of its own: another belt, light and camera for every ``seed``; for data sets.

    Returns:
        (height, width, 3) uint8 RGB, and the parts as ``BeltScene.render`` lists them.
    """
    rng = np.random.default_rng([seed, 2])
    config = BeltConfig(width, height, seed, frames_long=1, density=float(rng.uniform(0.5, 1.3)), look=random_look(rng))
    return BeltScene(config).render(0)


def random_look(rng: np.random.Generator) -> BeltLook:
    """Return a look between bright and dim, sharp and soft, clean and worn."""
    return BeltLook(
        brightness=float(rng.uniform(0.55, 1.35)),
        warmth=float(rng.uniform(-0.8, 0.8)),
        light_deg=float(rng.uniform(0.0, 360.0)),
        falloff=float(rng.uniform(0.0, 0.65)),
        blur_px=float(rng.choice([0.4, 0.7, 1.1, 1.8])),
        noise=float(rng.uniform(1.0, 12.0)),
        belt=int(rng.integers(0, len(_BELTS))),
        wear=float(rng.uniform(0.0, 1.0)),
        rails=bool(rng.random() < 0.6),
    )


def _draw_belt(config: BeltConfig, loop: int, rng: np.random.Generator) -> tuple[Pixels, tuple[ScenePart, ...]]:
    """Draw the whole belt with its parts; boxes are in belt px and may reach beyond ``loop``."""
    unit = config.height / _REFERENCE_HEIGHT
    canvas = _draw_rubber(config, loop, rng)
    # A part across the joint is drawn on extra columns behind the end, which are then copied to the start.
    extra = math.ceil(200 * unit) + 20
    canvas = np.concatenate([canvas, canvas[:, :extra]], axis=1)
    shadow = extra // 5
    parts = []
    for spot in _scatter(config, loop, rng):
        sprite = draw_part(spot.label, spot.size, config.look.light_deg, rng)
        rows, columns = sprite.coverage.shape
        left, top = round(spot.x - columns / 2) % loop, round(spot.y - rows / 2)
        left = left + loop if left < shadow else left
        _lay(canvas, sprite, left, top, config.look.light_deg)
        if left + columns + shadow >= loop:
            canvas[:, :extra] = canvas[:, loop : loop + extra]
        elif left < extra + shadow:
            canvas[:, loop : loop + extra] = canvas[:, :extra]
        parts.append(ScenePart(spot.label, _box(sprite, left % loop, top)))
    canvas = canvas[:, :loop]
    if config.look.blur_px > 0.2:
        canvas = _blur(canvas, config)
    return canvas, tuple(parts)


def _blur(canvas: Pixels, config: BeltConfig) -> Pixels:
    """Defocus, and the smear of a belt that moves while the shutter is open for a quarter of the frame time."""
    margin = 32
    wrapped = np.concatenate([canvas[:, -margin:], canvas, canvas[:, :margin]], axis=1)
    wrapped = cv2.GaussianBlur(wrapped, (0, 0), config.look.blur_px * config.height / _REFERENCE_HEIGHT)
    smear = min(round(abs(config.speed_px) / 4) | 1, margin)
    if smear > 1:
        wrapped = cv2.blur(wrapped, (smear, 1))
    return np.ascontiguousarray(wrapped[:, margin:-margin])


def _scatter(config: BeltConfig, loop: int, rng: np.random.Generator) -> list[_Spot]:
    """Choose parts and places; most lie apart, some partly on top of another, none buried."""
    unit = config.height / _REFERENCE_HEIGHT
    rail = _RAIL_PX * unit if config.look.rails else 0.0
    count = round(config.density * loop * (config.height - 2 * rail) / (_AREA_PER_PART_PX * unit * unit))
    spots: list[_Spot] = []
    for _ in range(count):
        label = int(rng.choice(len(PART_LABELS), p=_ODDS))
        low, high = _SIZES_PX[PART_LABELS[label]]
        size = float(rng.uniform(low, high)) * unit
        closest = float(rng.choice([1.02, 0.62], p=[0.75, 0.25]))
        reach = reach_px(label, size)
        for _ in range(20):
            x = float(rng.uniform(0, loop))
            y = float(rng.uniform(rail + 0.9 * reach, config.height - rail - 0.9 * reach))
            if all(
                _apart(x, y, other, loop) > closest * (reach + reach_px(other.label, other.size)) for other in spots
            ):
                spots.append(_Spot(label, size, x, y))
                break
    return spots


def _apart(x: float, y: float, other: _Spot, loop: int) -> float:
    across = abs(x - other.x)
    return math.hypot(min(across, loop - across), y - other.y)


def _lay(canvas: Pixels, sprite: Sprite, left: int, top: int, light_deg: float) -> None:
    """Put a part and its shadow on the canvas; what lies beyond the canvas is left out."""
    light = math.radians(light_deg)
    length = 0.55 * sprite.height_px + 1.5
    pad = math.ceil(length) + 6
    over = np.pad(sprite.coverage, pad)
    shift = np.array([[1, 0, -math.cos(light) * length], [0, 1, -math.sin(light) * length]], np.float32)
    cast = cv2.GaussianBlur(cv2.warpAffine(over, shift, over.shape[1::-1]), (0, 0), 0.25 * length + 1.0)
    contact = cv2.GaussianBlur(over, (0, 0), 1.8)
    dark = (1.0 - 0.55 * cast) * (1.0 - 0.35 * contact)
    colour = np.pad(sprite.colour, ((pad, pad), (pad, pad), (0, 0)))
    x, y = left - pad, top - pad
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = min(x + over.shape[1], canvas.shape[1]), min(y + over.shape[0], canvas.shape[0])
    window = canvas[y1:y2, x1:x2]
    inside = np.s_[y1 - y : y2 - y, x1 - x : x2 - x]
    share = over[inside][:, :, None]
    below = window * (dark[inside] * (1.0 - over[inside]))[:, :, None]
    window[...] = (below + colour[inside] * share).astype(np.uint8)


def _box(sprite: Sprite, left: int, top: int) -> tuple[float, float, float, float]:
    """Return the box of what is at least half covered."""
    solid = sprite.coverage >= 0.5
    columns, rows = np.flatnonzero(solid.any(axis=0)), np.flatnonzero(solid.any(axis=1))
    return float(left + columns[0]), float(top + rows[0]), float(left + columns[-1] + 1), float(top + rows[-1] + 1)


def _draw_rubber(config: BeltConfig, loop: int, rng: np.random.Generator) -> Pixels:
    """Draw the bare belt: a woven print, stains, scratches along the run, and the joint where its ends meet."""
    height, wear = config.height, config.look.wear
    unit = height / _REFERENCE_HEIGHT
    tone = 1.0 + 0.16 * wear * (_clouds(rng, height, loop, 90 * unit) - 0.5) * 2
    tone += 0.1 * wear * (_clouds(rng, height, loop, 22 * unit) - 0.5) * 2
    tone += (_normal_table() * np.float32(0.05))[_bytes((height, loop), rng)]
    # A whole number of threads goes round the loop, or the joint would show as a jump.
    threads = round(loop / (7.0 * unit))
    across = np.cos(np.arange(loop, dtype=np.float32) * np.float32(2 * math.pi * threads / loop))
    along = np.cos(np.arange(height, dtype=np.float32) * np.float32(2 * math.pi / (7.0 * unit)))
    tone += 0.045 * across[None, :] * along[:, None]
    paint = _BELTS[config.look.belt % len(_BELTS)]
    canvas: Plane = cv2.merge([tone * np.float32(part) for part in paint])  # type: ignore[assignment]  # stubs lack the dtype
    for _ in range(round(wear * loop / 60)):
        _scratch(canvas, unit, rng)
    seam = int(rng.integers(0, max(loop, 3 * config.width)))
    if seam >= loop - 12:  # a belt shorter than three frames stands for a part of a longer one
        return _saturated(canvas)
    canvas[:, seam : seam + max(2, round(3 * unit))] *= 0.6
    pitch = max(6, round(14 * unit))
    for row in range(pitch // 2, height, pitch):
        canvas[row : row + max(1, pitch // 4), seam - 4 if seam >= 4 else 0 : seam + 8] *= 1.5
    return _saturated(canvas)


def _saturated(canvas: Plane) -> Pixels:
    return cv2.convertScaleAbs(canvas)  # type: ignore[return-value]  # stubs lack the dtype; nothing is negative


def _scratch(canvas: Plane, unit: float, rng: np.random.Generator) -> None:
    row, long = int(rng.integers(0, canvas.shape[0] - 3)), int(rng.uniform(20, 160) * unit)
    start = int(rng.integers(0, canvas.shape[1] - long))
    fade = np.sin(np.linspace(0, math.pi, long, dtype=np.float32)) * np.float32(rng.uniform(-0.15, 0.3))
    canvas[row : row + max(1, round(unit)), start : start + long] *= 1.0 + fade[:, None]


def _clouds(rng: np.random.Generator, height: int, loop: int, cell: float) -> Plane:
    """Return smooth noise 0–1 that meets itself at the ends of the loop."""
    columns, rows = max(4, round(loop / cell)), max(2, round(height / cell))
    small = np.pad(rng.random((rows, columns), np.float32), ((0, 0), (2, 2)), mode="wrap")
    scale = loop / columns
    wide = cv2.resize(small, (round(scale * (columns + 4)), height), interpolation=cv2.INTER_CUBIC)
    edge = round(2 * scale)
    return wide[:, edge : edge + loop]  # type: ignore[return-value]  # stubs lack the dtype


def _light_map(config: BeltConfig) -> Pixels:
    """Return what a frame is multiplied by, in 128ths: (height, width, 3) uint8."""
    look, width, height = config.look, config.width, config.height
    light = math.radians(look.light_deg)
    # Light changes slowly over the frame: an eighth of its size is enough to compute.
    x = np.linspace(-1, 1, width // 8, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height // 8, dtype=np.float32)[:, None]
    far = np.hypot(x - 0.8 * math.cos(light), y - 0.8 * math.sin(light))
    strength = look.brightness * (1.12 - look.falloff * np.clip(far / 2.2, 0, 1) - 0.08 * (x * x + y * y))
    tint = np.array([1 + 0.1 * look.warmth, 1.0, 1 - 0.14 * look.warmth], np.float32)
    smooth = cv2.resize(strength[:, :, None] * tint, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.convertScaleAbs(smooth, alpha=128.0)  # type: ignore[return-value]  # stubs lack the dtype


def _draw_rails(config: BeltConfig, light: Pixels, rng: np.random.Generator) -> Pixels:
    """Return the two aluminium rails under the light, upper above lower: (2 * rail height, width, 3) uint8."""
    unit = config.height / _REFERENCE_HEIGHT
    rows = round(_RAIL_PX * unit)
    across = np.linspace(0, 1, rows, dtype=np.float32)
    profile = 0.8 + 0.2 * np.sin(across * 3.0) - 0.45 * (np.abs(across - 0.55) < 0.09) - 0.5 * (across > 0.93)
    brushed = cv2.blur(rng.standard_normal((rows, config.width), np.float32), (41, 1)) * 0.25 + profile[:, None]
    upper = brushed[:, :, None] * np.array([150, 154, 160], np.float32)
    lower = upper[::-1].copy()
    for rail in (upper, lower):
        for x in np.arange(0.12, 1.0, 0.25) * config.width:
            centre = (round(float(x)), rows // 2)
            cv2.circle(rail, centre, round(6 * unit), (92, 94, 98), -1, cv2.LINE_AA)
            cv2.circle(rail, centre, round(5 * unit), (176, 180, 184), -1, cv2.LINE_AA)
            cv2.circle(rail, centre, round(2 * unit), (60, 62, 66), -1, cv2.LINE_AA)
    both = np.clip(np.concatenate([upper, lower]), 0, 255).astype(np.uint8)
    beside = np.concatenate([light[:rows], light[-rows:]])
    lit: Pixels = cv2.multiply(both, beside, scale=1.0 / 128.0)
    return lit


def _noise_bank(config: BeltConfig, rng: np.random.Generator) -> Pixels:
    """Return sensor noise about 128; every frame takes another window of it."""
    shape = (config.height + _NOISE_MARGIN_PX, config.width + _NOISE_MARGIN_PX, 3)
    noise: Pixels = np.clip(np.rint(_normal_table() * config.look.noise + 128), 0, 255).astype(np.uint8)[
        _bytes(shape, rng)
    ]
    return noise


def _normal_table() -> Plane:
    """Return the standard normal distribution's value for each of 256 equally likely bytes.

    Random bytes through this table are ten times as fast as drawn normals, and finer than eight bits can show.
    """
    normal = statistics.NormalDist()
    return np.array([normal.inv_cdf((byte + 0.5) / 256) for byte in range(256)], np.float32)


def _bytes(shape: tuple[int, ...], rng: np.random.Generator) -> Pixels:
    return np.frombuffer(rng.bytes(math.prod(shape)), np.uint8).reshape(shape)
