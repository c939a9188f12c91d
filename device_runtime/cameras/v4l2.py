"""Cameras at ``/dev/video…``, through OpenCV's V4L2: pixel formats are handed over as they come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from device_runtime.cameras.opencv import OpenCapture, fourcc_number, fourcc_text, known_fps
from device_runtime.cameras.options import CameraOptions
from device_runtime.contract.events import Events, Notice, silent
from device_runtime.contract.model import Colour
from device_runtime.errors import CameraError
from device_runtime.vision.raw import AnyFrame, Capture, DamagedFrameError, Encoding, RawFrame, jpeg_frame, pixel_frame

FORMATS = ("MJPG", "YUYV")
"""What is tried when no format is asked for. MJPG first: USB 2 has no room for more than about 640x480 of YUYV."""

_BUFFERS = 2  # one that the driver fills while the other is taken; more only make frames older
_OLDEST_S = 2.0
_ENCODINGS = {"MJPG": Encoding.JPEG, "JPEG": Encoding.JPEG, "YUYV": Encoding.YUYV, "YU12": Encoding.I420}
_ENCODINGS["NV12"] = Encoding.NV12
_GREY = "GREY"
_CONVERTED_HERE = {"NV21": cv2.COLOR_YUV2BGR_NV21}  # OpenCV's V4L2 gives it as RGB, where all else is BGR


@dataclass(frozen=True, slots=True)
class Mode:
    """What a camera was set to; ``fps`` is None when the driver does not say."""

    format: str
    size: tuple[int, int]
    fps: float | None

    def __str__(self) -> str:
        rate = f" at {self.fps:g} fps" if self.fps else ""
        return f"{self.format} {self.size[0]}x{self.size[1]}{rate}"


def open_device(path: str) -> OpenCapture:
    """Open a V4L2 device with OpenCV."""
    return cv2.VideoCapture(path, cv2.CAP_V4L2)


class V4l2Camera:
    """A V4L2 camera. JPEG and YUV frames are not decoded here: most are dropped when the model is slower."""

    live = True

    def __init__(
        self,
        which: str,
        options: CameraOptions,
        events: Events = silent,
        open_capture: Callable[[str], OpenCapture] = open_device,
    ) -> None:
        """Open a camera.

        Args:
            which: its number, or the path of its device.
            options: what to ask of it. Where it gives something else, ``events`` hears of it.
            events: see ``options``.
            open_capture: opens the device.

        Raises:
            CameraError: it is absent, busy, not permitted or no camera.
        """
        device = Path(f"/dev/video{which}" if which.isdecimal() else which)
        self.name = f"v4l2:{which}"
        _check_device(device)
        self._capture = open_capture(str(device))
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"cannot open {device}: busy, or not a camera", hint=f"see who uses it: fuser -v {device}"
            )
        self.mode = _choose_mode(self._capture, options)
        self.fps = self.mode.fps
        self._index = 0
        self._raw = self.mode.format in (*_ENCODINGS, *_CONVERTED_HERE, _GREY)
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0 if self._raw else 1)
        _report(self.name, options, self.mode, events)

    def read(self) -> AnyFrame | None:
        """Wait for the next frame.

        Raises:
            DamagedFrameError: the frame is no JPEG, or too short.
            CameraError: the camera is gone.
        """
        if not self._capture.grab():
            raise CameraError(
                f"{self.name} stopped giving frames after {self._index}", hint="was it unplugged? see: dmesg | tail"
            )
        now = time.monotonic_ns()
        captured = _driver_time(self._capture.get(cv2.CAP_PROP_POS_MSEC), now)
        index, self._index = self._index, self._index + 1
        given, data = self._capture.retrieve()
        capture = Capture(captured, index, self.name, (time.monotonic_ns() - now) / 1e6)
        if not given or data is None:
            raise DamagedFrameError(f"{self.name}: frame {index}: expected a picture, got nothing")
        return self._frame(data, capture)

    def close(self) -> None:
        """Let go of the device."""
        self._capture.release()

    def _frame(self, data: Any, capture: Capture) -> AnyFrame:
        """Wrap what OpenCV gives; its stubs do not know the dtype."""
        encoding = _ENCODINGS.get(self.mode.format)
        if encoding is Encoding.JPEG:
            return jpeg_frame(data.reshape(-1), capture)
        if encoding is not None:
            return RawFrame(data, encoding, self.mode.size, capture)
        if self.mode.format in _CONVERTED_HERE:
            data = cv2.cvtColor(data, _CONVERTED_HERE[self.mode.format])
        colour = Colour.GRAY if self.mode.format == _GREY else Colour.BGR
        return pixel_frame(data, colour, capture)


def _check_device(device: Path) -> None:
    if not device.exists():
        present = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*"))) or "none"
        raise CameraError(
            f"no camera at {device}; cameras here: {present}",
            hint="plug it in and see: ls /dev/video*; or try without one: --source synthetic:belt",
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise CameraError(f"cannot open {device}: not permitted", hint="sudo usermod -aG video $USER, and log in again")


def _choose_mode(capture: OpenCapture, options: CameraOptions) -> Mode:
    """Set the camera to what fits best: the format at the size that is asked for, then the format alone.

    OpenCV says True to a format that the camera lacks and takes another, and drivers take the nearest size: what
    counts is what is there afterwards. The rate comes last, because setting anything else resets it.
    """
    capture.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
    candidates = (options.format,) if options.format else FORMATS
    fallback: str | None = None
    for wanted in candidates:
        got = _set_format(capture, wanted, options.size)
        if got.format == wanted and options.size in (None, got.size):
            break
        if got.format == wanted and fallback is None:
            fallback = wanted
    else:
        if fallback is not None:
            _set_format(capture, fallback, options.size)
    if options.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, options.fps)
    return _mode(capture)


def _set_format(capture: OpenCapture, wanted: str, size: tuple[int, int] | None) -> Mode:
    capture.set(cv2.CAP_PROP_FOURCC, fourcc_number(wanted))
    if size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
    return _mode(capture)


def _mode(capture: OpenCapture) -> Mode:
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return Mode(fourcc_text(capture.get(cv2.CAP_PROP_FOURCC)), size, known_fps(capture.get(cv2.CAP_PROP_FPS)))


def _report(name: str, asked: CameraOptions, mode: Mode, events: Events) -> None:
    """Say where the camera gives something else than what was asked of it."""
    wrong = [
        f"{field} {wanted}"
        for field, wanted, met in (
            ("format", asked.format, mode.format == asked.format),
            ("size", asked.size and f"{asked.size[0]}x{asked.size[1]}", mode.size == asked.size),
            ("fps", asked.fps and f"{asked.fps:g}", mode.fps is not None and round(mode.fps) == round(asked.fps or 0)),
        )
        if wanted and not met
    ]
    if wrong:
        events(Notice(f"{name}: expected {', '.join(wrong)}, the camera gives {mode}", "warning"))


def _driver_time(stamp_ms: float, now_ns: int) -> int:
    """Return when the frame was taken, in monotonic ns.

    Drivers stamp their buffers with the monotonic clock (V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC; uvcvideo when the frame
    begins). A stamp of another clock is far off, and then it is now.
    """
    stamp_ns = int(stamp_ms * 1e6)
    return stamp_ns if 0 <= now_ns - stamp_ns <= _OLDEST_S * 1e9 else now_ns
