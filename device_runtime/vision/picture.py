"""Picture files to frames and masks: any sensible format, depth, palette and orientation, as in training."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from device_runtime.contract.model import Colour
from device_runtime.errors import BadFileError
from device_runtime.files import list_files, refused
from device_runtime.vision.frame import Frame, Pixels
from device_runtime.vision.placement import Mask

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
    with _readable(path):
        pixels = _decode(path)
    taken = (time.monotonic_ns() - started) / 1e6
    return Frame(pixels, Colour.RGB, started, index, str(path), taken)


def read_mask(path: Path) -> Mask:
    """Read a picture of class ids: (H, W) uint8 or uint16; the dtype's highest value stands for no class.

    A palette's entries are ids, whatever their colours are (as in PASCAL VOC's masks), and so are levels of grey.

    Raises:
        BadFileError: it is not a picture, it is damaged, too large, or has colours in place of ids.
        EdgeError: it cannot be read.
    """
    with _readable(path), _opened(path) as image:
        if image.mode not in ("L", "P", *_SIXTEEN_BIT):
            raise BadFileError(
                f"{path}: expected a mask of class ids, 8-bit or 16-bit grey or with a palette, got mode {image.mode}"
            )
        return np.array(image).astype(np.uint16 if image.mode in _SIXTEEN_BIT else np.uint8)


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files below ``folder``, sorted by path; hidden files and folders are left out.

    Raises:
        BadFileError: ``folder`` is not a folder.
    """
    if not folder.is_dir():
        raise BadFileError(f"expected a folder of pictures, got {folder}")
    return list_files(folder, SUFFIXES)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Map what Pillow raises to our errors."""
    try:
        with warnings.catch_warnings():
            # Pillow warns from half of its bound on; ours is MAX_PIXELS.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
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


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture that is not too large, upright."""
    with Image.open(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadFileError(
                f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, got {width * height / 10**6:.0f}"
            )
        yield ImageOps.exif_transpose(image)


def _decode(path: Path) -> Pixels:
    with _opened(path) as image:
        if image.mode in _SIXTEEN_BIT:
            deep = np.asarray(image).astype(np.int64)
            grey = np.clip(deep >> 8, 0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(image.convert("RGB"))
