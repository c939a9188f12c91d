"""Cut the atlas of scans into pictures to calibrate with and labelled ones to measure with.

    python make_images.py --out images

A scan of the data set is 8x8 px of 17 greys. Here it is drawn as it may have looked on the form: dark ink on light
paper, 64x64 px.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from device_runtime.errors import EdgeError
from device_runtime.files import making_folder
from device_runtime.vision.frame import Pixels

SCAN_PX = 8
TILES_PER_ROW = 64
TILE_STEP = 15  # grey levels per step of a scan's 0–16
HELD_OUT = 540  # the last scans: never trained on, never calibrated with
CALIBRATION_COUNT = 150

_PICTURE_PX = 64
_MARGIN_PX = 6
_PAPER, _INK = 238, 28


def load_scans(folder: Path) -> tuple[Pixels, tuple[int, ...]]:
    """Return all scans, (n, 8, 8) uint8 0 (paper) – 16 (ink), and their digits, in the data set's order."""
    digits = tuple(int(digit) for digit in (folder / "scans.txt").read_text(encoding="utf-8").replace("\n", ""))
    atlas = np.array(Image.open(folder / "scans.png"))
    rows = atlas.shape[0] // SCAN_PX
    tiles = atlas.reshape(rows, SCAN_PX, TILES_PER_ROW, SCAN_PX).swapaxes(1, 2).reshape(-1, SCAN_PX, SCAN_PX)
    return tiles[: len(digits)] // TILE_STEP, digits


def draw(scan: Pixels) -> Pixels:
    """Draw one scan, (8, 8) uint8 0–16, as a picture: (64, 64) uint8 grey, dark on light."""
    inner = _PICTURE_PX - 2 * _MARGIN_PX
    ink = cv2.resize(scan.astype(np.float32) / 16.0, (inner, inner), interpolation=cv2.INTER_CUBIC)
    # Enlarging blurs: a steeper ramp about one half gives strokes their edges back.
    ink = np.clip((ink - 0.5) * 1.8 + 0.5, 0.0, 1.0)
    picture = np.full((_PICTURE_PX, _PICTURE_PX), _PAPER, np.float32)
    picture[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX] -= ink * (_PAPER - _INK)
    return np.rint(picture).astype(np.uint8)


def write_pictures(scans: Pixels, names: list[Path]) -> None:
    """Draw each scan into the PNG file of that name."""
    for scan, name in zip(scans, names, strict=True):
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(scan)).save(name)


def write_images(folder: Path, scans: Pixels, digits: tuple[int, ...], calibration: int) -> None:
    """Write ``calibration/`` from the training part, and ``evaluation/DIGIT/`` from the held-out part."""
    training = len(scans) - HELD_OUT
    spread = np.linspace(0, training - 1, calibration).astype(int)
    write_pictures(scans[spread], [folder / "calibration" / f"scan-{index:04}.png" for index in spread])
    held_out = range(training, len(scans))
    names = [folder / "evaluation" / str(digits[index]) / f"scan-{index:04}.png" for index in held_out]
    write_pictures(scans[training:], names)


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="write DIR/calibration and DIR/evaluation"
    )
    parser.add_argument(
        "--calibration", type=int, default=CALIBRATION_COUNT, metavar="N", help="how many (%(default)s)"
    )
    given = parser.parse_args()
    scans, digits = load_scans(Path(__file__).parent)
    with making_folder(given.out) as folder:
        write_images(folder, scans, digits, given.calibration)
    print(f"{given.calibration} calibration and {HELD_OUT} labelled evaluation pictures in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except EdgeError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}")
