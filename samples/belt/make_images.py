"""Render the belt's pictures: some to calibrate with, labelled ones to measure with, and on demand a demo video.

python make_images.py --out images
python make_images.py --video belt.mp4
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

from device_runtime.cameras.belt_scene import PART_LABELS, BeltScene, ScenePart, render_still
from device_runtime.errors import EdgeError
from device_runtime.files import making_folder, replacing
from device_runtime.vision.frame import Pixels

CALIBRATION_SEED = 2_000_000
EVALUATION_SEED = 1_000_000
"""A still's seed decides everything about it. Training uses others, so it has seen none of these pictures."""

CALIBRATION_COUNT = 100
EVALUATION_COUNT = 100
_JPEG_QUALITY = 92
_VIDEO_FPS = 30.0


def stills(first_seed: int, count: int) -> Iterator[tuple[Pixels, tuple[ScenePart, ...]]]:
    """Yield ``count`` labelled pictures: (480, 640, 3) uint8 RGB, and the parts in them."""
    for seed in range(first_seed, first_seed + count):
        yield render_still(seed)


def write_calibration(folder: Path, count: int) -> None:
    """Write pictures without labels: the quantiser only looks at what values occur."""
    folder.mkdir()
    for index, (pixels, _) in enumerate(stills(CALIBRATION_SEED, count)):
        write_picture(folder / f"belt-{index:03}.jpg", pixels)


def write_evaluation(folder: Path, count: int) -> None:
    """Write pictures and ``labels.csv``: a row per part with its box in px, or one empty row for a bare belt."""
    folder.mkdir()
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("file", "label", "x1", "y1", "x2", "y2"))
    for index, (pixels, parts) in enumerate(stills(EVALUATION_SEED, count)):
        name = f"belt-{index:03}.jpg"
        write_picture(folder / name, pixels)
        if not parts:
            rows.writerow((name, "", "", "", "", ""))
        for part in parts:
            rows.writerow((name, PART_LABELS[part.label], *(f"{side:.1f}" for side in part.box)))
    (folder / "labels.csv").write_text(table.getvalue(), encoding="utf-8")


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write one JPEG."""
    done, encoded = cv2.imencode(path.suffix, pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise EdgeError(f"cannot encode {path}")
    path.write_bytes(encoded.tobytes())


def write_video(path: Path, frames: int) -> None:
    """Write the running belt as an MPEG-4 video, whole or not at all."""
    scene = BeltScene()
    size = (scene.config.width, scene.config.height)
    with replacing(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), _VIDEO_FPS, size)
        if not writer.isOpened():
            raise EdgeError(f"cannot write {path}: no MPEG-4 encoder for this name", hint="name it like belt.mp4")
        try:
            for index in range(frames):
                writer.write(cv2.cvtColor(scene.render(index)[0], cv2.COLOR_RGB2BGR))
        finally:
            writer.release()


def main() -> None:
    """Write what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write DIR/calibration and DIR/evaluation")
    parser.add_argument(
        "--calibration", type=int, default=CALIBRATION_COUNT, metavar="N", help="how many (%(default)s)"
    )
    parser.add_argument("--evaluation", type=int, default=EVALUATION_COUNT, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--video", type=Path, metavar="OUT.mp4", help="write a video of the running belt")
    parser.add_argument("--frames", type=int, default=600, metavar="N", help="length of the video (%(default)s)")
    given = parser.parse_args()
    if given.out is None and given.video is None:
        parser.error("nothing to do: give --out DIR or --video OUT.mp4")
    if given.out is not None:
        with making_folder(given.out) as folder:
            write_calibration(folder / "calibration", given.calibration)
            write_evaluation(folder / "evaluation", given.evaluation)
        print(f"{given.calibration} calibration and {given.evaluation} labelled evaluation pictures in {given.out}")
    if given.video is not None:
        write_video(given.video, given.frames)
        print(f"{given.frames} frames in {given.video}")


if __name__ == "__main__":
    try:
        main()
    except EdgeError as error:
        sys.exit(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}")
