"""What is asked of a camera, and how a source is written: ``SCHEME:WHAT?size=1280x720&fps=30&format=MJPG``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path

from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError

MAX_FPS = 1000.0
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_FORMATS = {"MJPEG": "MJPG", "JPEG": "MJPG", "YUY2": "YUYV", "I420": "YU12", "YUV420": "YU12"}
"""Other names by which people know V4L2's pixel formats."""


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """What is asked of a camera; None leaves it to the camera.

    ``size`` is width and height in px, ``format`` a V4L2 pixel format of four characters (``MJPG``, ``YUYV``).
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    format: str | None = None

    def __post_init__(self) -> None:
        """Check the values. Raises UsageError."""
        if self.size is not None and not all(1 <= side <= 65535 for side in self.size):
            raise UsageError(f"size: expected a width and a height of 1–65535 px, got {self.size[0]}x{self.size[1]}")
        if self.fps is not None and not 0 < self.fps <= MAX_FPS:
            raise UsageError(f"fps: expected more than 0 and at most {MAX_FPS:g}, got {self.fps:g}")
        if self.format is not None:
            name = _FORMATS.get(self.format.upper(), self.format.upper())
            if not (len(name) == 4 and name.isascii() and name.isprintable()):
                raise UsageError(f"format: expected four characters as in MJPG or YUYV, got {self.format!r}")
            object.__setattr__(self, "format", name)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a source's text says beside what it names. ``live`` is ``?live``: play at its own speed."""

    what: str
    options: CameraOptions
    live: bool = False


def parse_options(source: str, rest: str, known: Collection[str]) -> Asked:
    """Take ``WHAT?name=value&…`` apart.

    Args:
        source: the whole source, for messages.
        rest: what follows the scheme.
        known: the options that the scheme has. A path that exists is taken whole, question marks included.

    Raises:
        UsageError: an option that the scheme does not have, one given twice, or a value that is none.
    """
    what, mark, query = rest.partition("?")
    if not mark or not known or Path(rest).exists():
        return Asked(rest, CameraOptions())
    values: dict[str, object] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name not in known:
            options = ", ".join(known)
            raise UsageError(
                f'source {source}: expected the options {options}, got "{name}"', hint=suggestion(name, known)
            )
        if name in values:
            raise UsageError(f"source {source}: {name} is given twice")
        values[name] = _value(source, name, value)
    live = bool(values.pop("live", False))
    return Asked(what, CameraOptions(**values), live)  # type: ignore[arg-type]  # _value gives each its type


def merge(source: str, written: CameraOptions, asked: CameraOptions) -> CameraOptions:
    """Return what the source's text and the service ask together.

    Raises:
        UsageError: they ask for different things.
    """
    merged = written
    for field in fields(CameraOptions):
        one, other = getattr(written, field.name), getattr(asked, field.name)
        if one is not None and other is not None and one != other:
            raise UsageError(
                f"source {source}: {field.name} {_text(one)} is in the source, but {_text(other)} is asked for as well",
                hint=f"leave one of the two {field.name} out",
            )
        if one is None:
            merged = replace(merged, **{field.name: other})
    return merged


def not_taken(asked: CameraOptions, taken: Collection[str]) -> list[str]:
    """Return the names of what is asked but cannot be asked of a source that takes ``taken``."""
    names = (field.name for field in fields(CameraOptions))
    return [name for name in names if getattr(asked, name) is not None and name not in taken]


def _value(source: str, name: str, value: str) -> object:
    if name == "live":
        if value:
            raise UsageError(f"source {source}: expected live without a value, got {value!r}")
        return True
    if name == "size":
        found = _SIZE.fullmatch(value)
        if found is None:
            raise UsageError(f"source {source}: size: expected WIDTHxHEIGHT as in 1280x720, got {value!r}")
        return int(found[1]), int(found[2])
    if name == "fps":
        try:
            return float(value)
        except ValueError:
            raise UsageError(f"source {source}: fps: expected a number, got {value!r}") from None
    return value


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return f"{value[0]}x{value[1]}"
    return f"{value:g}" if isinstance(value, float) else str(value)
