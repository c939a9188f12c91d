"""Make ``scans.png`` and ``scans.txt`` from scikit-learn's copy of the data: ``python make_scans.py``.

Nobody needs to run this again: the two files are part of the sample, so that it needs no scikit-learn. Their layout:
tiles of 8x8 px in rows of 64, in the data set's order; a line of ``scans.txt`` holds the digits of one row.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from make_images import SCAN_PX, TILE_STEP, TILES_PER_ROW
from PIL import Image
from sklearn.datasets import load_digits

from device_runtime.files import replacing, write_text


def main() -> None:
    """Write the atlas and its labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="default: %(default)s")
    given = parser.parse_args()
    data = load_digits()
    count = len(data.images)
    rows = -(-count // TILES_PER_ROW)
    atlas = np.zeros((rows * TILES_PER_ROW, SCAN_PX, SCAN_PX), np.uint8)
    atlas[:count] = data.images * TILE_STEP
    tiled = atlas.reshape(rows, TILES_PER_ROW, SCAN_PX, SCAN_PX).swapaxes(1, 2)
    with replacing(given.out / "scans.png") as temporary:
        Image.fromarray(tiled.reshape(rows * SCAN_PX, TILES_PER_ROW * SCAN_PX)).save(temporary, optimize=True)
    digits = "".join(str(digit) for digit in data.target)
    lines = [digits[start : start + TILES_PER_ROW] for start in range(0, count, TILES_PER_ROW)]
    write_text(given.out / "scans.txt", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
