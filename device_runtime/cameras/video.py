"""Video files through OpenCV and FFmpeg; the packets of an MJPEG file are handed over undecoded."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from device_runtime.cameras.opencv import OpenCapture, fourcc_text, known_fps
from device_runtime.contract.model import Colour
from device_runtime.errors import CameraError
from device_runtime.machine import usable_cores
from device_runtime.vision.frame import Pixels
from device_runtime.vision.raw import AnyFrame, Capture, is_cut, jpeg_frame, jpeg_size, pixel_frame

_COUNT_TOLERANCE = 0.02
"""Containers estimate their frame count from the duration; up to this share fewer frames is no damage."""

_PACKETS = -1  # CAP_PROP_FORMAT: give packets, not pictures


class VideoFile:
    """A video file, frame by frame, as fast as frames are taken.

    Of an MJPEG file a 1080p packet takes 0.02 ms to hand over where decoding takes 13 ms; workers decode it, all at
    the same time, and no larger than the model's input needs.
    """

    live = False

    def __init__(self, path: Path) -> None:
        """Open the file. Raises CameraError when it is absent or no video."""
        self.name = f"file:{path}"
        if not path.is_file():
            raise CameraError(f"no such video: {path}")
        self._path = path
        self._capture = self._open()
        self.fps = known_fps(self._capture.get(cv2.CAP_PROP_FPS))
        self._expected = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._index = 0
        self._first: Pixels | None = None
        self._packets = fourcc_text(self._capture.get(cv2.CAP_PROP_FOURCC)) == "MJPG" and self._packets_are_frames()

    def read(self) -> AnyFrame | None:
        """Return the next frame.

        Raises:
            DamagedFrameError: a packet of an MJPEG file is no JPEG.
            CameraError: the file ends long before it should.
        """
        captured = time.monotonic_ns()
        data = self._next()
        if data is not None and self._packets and is_cut(data.reshape(-1)):
            self._first = self._next()
            data = None if self._first is None else data  # what is cut at the end of a file is no frame of it
        if data is None:
            missing = self._expected - self._index
            if missing > max(2, self._expected * _COUNT_TOLERANCE):
                raise CameraError(
                    f"{self.name}: ends after {self._index} of {self._expected} frames: damaged or truncated"
                )
            return None
        capture = Capture(captured, self._index, self.name, (time.monotonic_ns() - captured) / 1e6)
        self._index += 1
        if self._packets:
            return jpeg_frame(data.reshape(-1), capture)
        return pixel_frame(data, Colour.BGR, capture)

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _open(self) -> OpenCapture:
        # FFmpeg decodes with a thread for each core, which the workers need too: with one of two, a 1080p frame takes a
        # fifth less CPU (2.8 ms, not 3.4) and less memory, and the loop is faster. Half of the cores keep up elsewhere.
        threads = max(1, usable_cores() // 2)
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self._path}: not a readable video: damaged, truncated, or of an unknown format")
        return capture

    def _packets_are_frames(self) -> bool:
        """Ask for packets, and look at the first one; False, and the file opened anew, when it is not a whole frame.

        Interlaced files have two pictures of half the height in a packet, and a turned picture is turned by FFmpeg.
        """
        size = tuple(int(self._capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        upright = self._capture.get(cv2.CAP_PROP_ORIENTATION_META) == 0
        if upright and self._capture.set(cv2.CAP_PROP_FORMAT, _PACKETS):
            self._first = self._next()
            if self._first is None or jpeg_size(self._first.reshape(-1).data) == size:
                return True
        self._capture.release()
        self._capture, self._first = self._open(), None
        return False

    def _next(self) -> Pixels | None:
        """Return a packet, (1, n) uint8, or a picture, (H, W, 3) uint8 BGR; None at the end."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        # A pool of arrays for retrieve() was measured at 1080p: 2.4 ms per frame with and without, within the noise.
        given, data = self._capture.retrieve() if self._capture.grab() else (False, None)
        return data if given else None
