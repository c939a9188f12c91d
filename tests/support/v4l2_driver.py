"""A V4L2 camera behind OpenCV's VideoCapture, as OpenCV 4.11's cap_v4l.cpp treats cameras.

A format that the camera lacks is "accepted", and another one taken; the size becomes the nearest one that the format
has, once width and height were set; the rate is rounded; anything that is set resets the rate. Raw buffers come as
(1, n) for JPEG, (H, W, 2) for YUYV and (H * 3 / 2, W) for planes.
"""

import time

import cv2
import numpy as np

TRIED_FIRST = ("BGR3", "YU12", "YUYV", "UYVY", "NV12", "NV21", "MJPG", "GREY")
"""What OpenCV takes by itself, in its order."""


def picture(level, size, quality=90):
    """A JPEG file of one grey: (n,) uint8."""
    return cv2.imencode(".jpg", np.full((size[1], size[0], 3), level, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[
        1
    ].ravel()


class FakeDriver:
    """One camera. ``modes`` has for each format the sizes it comes in, and for each of these its highest rate.

    ``frames`` limits how many it gives before it is gone; ``padding`` are zero bytes behind each JPEG; ``damaged``
    are numbers of frames that come without their picture; ``clock`` stamps buffers, in ms.
    """

    def __init__(self, modes, frames=10**9, padding=0, damaged=(), clock=lambda: time.monotonic() * 1e3):
        self.modes = modes
        self.frames = frames
        self.padding = padding
        self.damaged = damaged
        self.clock = clock
        self.opened = []
        self.released = 0
        self.rates_asked = []
        self.buffers = 4
        self._given = 0
        self._raw = False
        self._half_size = {}
        self._size = (640, 480)
        self._fps = 30
        self._reset(next(name for name in TRIED_FIRST if name in modes) if modes else None)

    def __call__(self, path):
        """Open it: what a camera is given to open its device with."""
        self.opened.append(path)
        return self

    def isOpened(self):  # noqa: N802 - OpenCV's name
        return bool(self.modes)

    def set(self, prop, value):
        if prop == cv2.CAP_PROP_FOURCC:
            self._reset(int(value).to_bytes(4, "little").decode())
        elif prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            self._half_size[prop] = int(value)
            if len(self._half_size) == 2:
                self._size = (self._half_size[cv2.CAP_PROP_FRAME_WIDTH], self._half_size[cv2.CAP_PROP_FRAME_HEIGHT])
                self._half_size = {}
                self._reset(self._format)
        elif prop == cv2.CAP_PROP_FPS:
            self.rates_asked.append(value)
            self._fps = min(round(value), self.modes[self._format][self._actual])
        elif prop == cv2.CAP_PROP_BUFFERSIZE:
            self.buffers = int(value)
            self._reset(self._format)
        elif prop == cv2.CAP_PROP_CONVERT_RGB:
            self._raw = not value
        return True

    def get(self, prop):
        return {
            cv2.CAP_PROP_FOURCC: float(int.from_bytes(self._format.encode(), "little")),
            cv2.CAP_PROP_FRAME_WIDTH: float(self._actual[0]),
            cv2.CAP_PROP_FRAME_HEIGHT: float(self._actual[1]),
            cv2.CAP_PROP_FPS: float(self._fps),
            cv2.CAP_PROP_POS_MSEC: self.clock(),
        }[prop]

    def grab(self):
        if self._given == self.frames:
            return False
        self._given += 1
        return True

    def retrieve(self):
        width, height = self._actual
        level = (self._given - 1) % 200 + 16
        if self._given - 1 in self.damaged:
            return True, np.zeros((1, 64), np.uint8)
        if not self._raw:
            return True, np.full((height, width, 3), level, np.uint8)
        if self._format in ("MJPG", "JPEG"):
            return True, np.concatenate([picture(level, self._actual), np.zeros(self.padding, np.uint8)])[None]
        shapes = {"YUYV": (height, width, 2), "GREY": (height, width)}
        buffer = np.full(shapes.get(self._format, (height * 3 // 2, width)), 128, np.uint8)
        if self._format == "YUYV":
            buffer[..., 0] = level
        else:
            buffer[:height] = level
        return True, buffer

    def release(self):
        self.released += 1

    def _reset(self, wanted):
        if not self.modes:
            return
        self._format = wanted if wanted in self.modes else next(name for name in TRIED_FIRST if name in self.modes)
        sizes = self.modes[self._format]
        self._actual = min(sizes, key=lambda size: abs(size[0] * size[1] - self._size[0] * self._size[1]))
        highest = sizes[self._actual]
        self._fps = min(30, highest) if 0 < highest < 1e6 else highest
