"""Make the clips that every contestant sees: a window that moves over photos, with a drawn scene in it.

Photos, because what JPEG and video decoding cost depends on what is in the picture.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from device_runtime.errors import UnfitError
from device_runtime.vision.frame import Pixels

FRAMES = 300
FPS = 30
SIZES = {"480p": (640, 480), "1080p": (1920, 1080)}
"""(width, height) in px."""

_FORMATS = {"mp4": "mp4v", "avi": "MJPG"}


def make_clip(photos: Path, name: str, target: Path) -> None:
    """Write ``target``, an .mp4 (MPEG-4 part 2, the encoder that OpenCV's wheels have) or an .avi (MJPEG)."""
    width, height = SIZES[name]
    fourcc = _FORMATS[target.suffix[1:]]
    # FFmpeg's MJPEG frames are 4:2:0 and about 0.2 MB at 1080p, as webcams send them.
    writer = cv2.VideoWriter(str(target), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), FPS, (width, height))
    if not writer.isOpened():
        raise UnfitError(f"{target}: expected an encoder for {fourcc} in OpenCV, got none")
    wall = _wall(photos, width, height)
    rows, columns = wall.shape[0] - height, wall.shape[1] - width
    for index in range(FRAMES):
        turn = 2 * math.pi * index / FRAMES
        left, top = round(columns * (0.5 + 0.5 * math.sin(turn))), round(rows * (0.5 + 0.5 * math.sin(2 * turn)))
        picture = wall[top : top + height, left : left + width].copy()
        _draw(picture, index)
        writer.write(picture)
    writer.release()


def _wall(photos: Path, width: int, height: int) -> Pixels:
    """Return four photos of the window's size, two by two: (2 H, 2 W, 3) uint8 BGR."""
    read = [cv2.imread(str(path)) for path in sorted(photos.iterdir())]
    large = sorted((each for each in read if each is not None), key=lambda each: -each.size)[:4]
    if len(large) < 4:
        raise UnfitError(f"{photos}: expected 4 photos or more, got {len(large)}")
    cells = [cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in large]
    return np.vstack([np.hstack(cells[:2]), np.hstack(cells[2:])]).astype(np.uint8)


def _draw(picture: Pixels, index: int) -> None:
    """Draw things that move against the window."""
    height, width = picture.shape[:2]
    for number in range(4):
        x = (width * number // 4 + index * (3 + number)) % width
        y = height * (number + 1) // 5
        radius = height // 14
        cv2.circle(picture, (x, y), radius, (40 * number, 255 - 50 * number, 200), cv2.FILLED, cv2.LINE_AA)
        cv2.rectangle(picture, (x + radius, y), (x + 3 * radius, y + radius), (230, 60 * number, 30), cv2.FILLED)
