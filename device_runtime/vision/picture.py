"""Picture files to frames: any sensible format, depth, palette and orientation, as training pipelines see them."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from device_runtime.contract.model import Colour
from device_runtime.errors import BadFileError
from device_runtime.files import refused
from device_runtime.vision.frame import Frame, Pixels

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
MAX_PIXELS = 178_000_000
"""Larger pictures are refused before they are decoded: just below Pillow's own bound, and 534 MB as RGB."""

_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def read_picture(path: Path, index: int = 0) -> Frame:
    """Read a picture file as an RGB frame.

    EXIF orientation is applied, CMYK and palettes are converted, transparency is dropped, 16-bit samples keep their
    upper eight bits, an animation gives its first frame.

    Raises:
        BadFileError: it is not a picture, it is damaged, or it has more than ``MAX_PIXELS``.
        EdgeError: it cannot be read.
    """
    started = time.monotonic_ns()
    try:
        with warnings.catch_warnings():
            # Pillow warns from half of its bound on; ours is MAX_PIXELS.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            pixels = _decode(path)
    except FileNotFoundError as error:
        raise BadFileError(f"no such picture: {path}") from error
    except Image.DecompressionBombError as error:
        raise BadFileError(f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels; {error}") from error
    except (SyntaxError, ValueError, EOFError, MemoryError, UnidentifiedImageError) as error:
        raise BadFileError(f"{path}: not a readable picture: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise refused(error, path, "read") from error
        raise BadFileError(f"{path}: damaged picture: {error}") from error
    taken = (time.monotonic_ns() - started) / 1e6
    return Frame(pixels, Colour.RGB, started, index, str(path), taken)


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files below ``folder``, sorted by path; hidden files and folders are left out.

    Raises:
        BadFileError: ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise BadFileError(f"expected a folder of pictures, got {folder}")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found)


def _decode(path: Path) -> Pixels:
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadFileError(
                f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, got {width * height / 10**6:.0f}"
            )
        upright = ImageOps.exif_transpose(image)
        if upright.mode in _SIXTEEN_BIT:
            deep = np.asarray(upright).astype(np.int64)
            grey = np.clip(deep >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(upright.convert("RGB"))
