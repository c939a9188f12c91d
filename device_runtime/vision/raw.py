"""Frames as a camera gave them, JPEG or YUV: decoded as far as somebody looks at them."""

from __future__ import annotations

import dataclasses
import enum
import threading
from dataclasses import dataclass

import cv2
import numpy as np

from device_runtime.contract.model import Colour
from device_runtime.errors import CameraError
from device_runtime.vision.colour import packed_to_bgr
from device_runtime.vision.frame import Frame, Pixels

REDUCTIONS = (8, 4, 2)
"""By what a JPEG can be made smaller while it is decoded; scaling in the DCT leaves out most of the work."""

_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}

# Markers of a JPEG file: ITU-T T.81, table B.1.
_START, _END = b"\xff\xd8", b"\xff\xd9"
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_PADDING_STEP = 4096


class DamagedFrameError(CameraError):
    """One frame cannot be decoded; the next one may."""

    code = "damaged-frame"


class Encoding(enum.Enum):
    """How a camera's bytes are packed when they are not plain pixels.

    YUV is 8-bit BT.601 in the video range, Y 16–235, as V4L2's default and OpenCV's conversions have it.
    """

    JPEG = "jpeg"
    """A JPEG file, as MJPEG cameras send: (n,) uint8."""
    YUYV = "yuyv"
    """Y0 U Y1 V for every two pixels: (H, W, 2) uint8, W even."""
    I420 = "i420"
    """The planes Y, U and V, the latter two of half the size: (H * 3 / 2, W) uint8, H and W even."""
    NV12 = "nv12"
    """The plane Y, and a plane of U V pairs of half the size: (H * 3 / 2, W) uint8, H and W even."""


@dataclass(frozen=True, slots=True)
class Capture:
    """When and where a frame was grabbed; the fields are those of a ``Frame``."""

    captured_ns: int = 0
    index: int = 0
    source: str = ""
    capture_ms: float = 0.0


class RawFrame:
    """One picture as the camera gave it; the attributes of the same names are a ``Frame``'s.

    Only who looks at its pixels pays for them: the model's input is made from ``data`` straight away, at the input's
    size, and ``decoded`` makes the whole picture once for all who ask.
    """

    __slots__ = ("_lock", "_whole", "capture", "data", "encoding", "height", "width")

    def __init__(self, data: Pixels, encoding: Encoding, size: tuple[int, int], capture: Capture) -> None:
        """Wrap ``data``, shaped as ``encoding`` says, of ``size`` (width, height) in px.

        Raises:
            DamagedFrameError: ``data`` has another shape: the camera gave less, or something else.
        """
        self.width, self.height = size
        expected = _shape(encoding, *size)
        if data.dtype != np.uint8 or (expected is not None and data.shape != expected):
            raise DamagedFrameError(
                f"{capture.source}: frame {capture.index}: expected {encoding.value} of {self.width}x{self.height} px, "
                f"{expected} uint8, got {data.shape} {data.dtype}"
            )
        self.data = data
        self.encoding = encoding
        self.capture = capture
        self._whole: Frame | None = None
        self._lock = threading.Lock()

    @property
    def captured_ns(self) -> int:
        """The monotonic clock when it was grabbed."""
        return self.capture.captured_ns

    @property
    def index(self) -> int:
        """Its number among the source's frames."""
        return self.capture.index

    @property
    def source(self) -> str:
        """The camera's name."""
        return self.capture.source

    @property
    def capture_ms(self) -> float:
        """What grabbing it took."""
        return self.capture.capture_ms

    def decoded(self) -> Frame:
        """Return the whole picture as a BGR frame; made once.

        Raises:
            DamagedFrameError: it cannot be decoded.
        """
        with self._lock:
            if self._whole is None:
                pixels = (
                    self.decode_reduced(1)
                    if self.encoding is Encoding.JPEG
                    else packed_to_bgr(self.data, self.encoding.value)
                )
                self._whole = Frame(
                    pixels,
                    Colour.BGR,
                    self.captured_ns,
                    self.index,
                    self.source,
                    self.capture_ms,
                )
            return self._whole

    def decode_reduced(self, by: int) -> Pixels:
        """Decode a JPEG at 1, 1/2, 1/4 or 1/8 of its size, each side rounded up: (h, w, 3) uint8 BGR.

        Raises:
            DamagedFrameError: it cannot be decoded, or its end is missing.
        """
        # libjpeg makes up what is missing at the end, and only warns on stderr.
        if is_cut(self.data):
            raise self._damaged("its end is missing")
        pixels = cv2.imdecode(self.data, _REDUCED[by] | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None:
            raise self._damaged("it cannot be decoded")
        if by == 1 and pixels.shape[1::-1] != (self.width, self.height):
            raise self._damaged(f"its size is {pixels.shape[1]}x{pixels.shape[0]} px")
        return pixels  # type: ignore[return-value]  # cv2's stubs lack the dtype

    def _damaged(self, why: str) -> DamagedFrameError:
        return DamagedFrameError(
            f"{self.source}: frame {self.index}: expected a {self.encoding.value} picture of "
            f"{self.width}x{self.height} px, got {self.data.size} bytes: {why}"
        )


AnyFrame = Frame | RawFrame


def restamp(frame: AnyFrame, *, index: int | None = None, captured_ns: int | None = None) -> AnyFrame:
    """Return the same picture with another number, or another time of capture; the pixels are shared."""
    index = frame.index if index is None else index
    captured_ns = frame.captured_ns if captured_ns is None else captured_ns
    if isinstance(frame, RawFrame):
        capture = dataclasses.replace(frame.capture, index=index, captured_ns=captured_ns)
        return RawFrame(frame.data, frame.encoding, (frame.width, frame.height), capture)
    return dataclasses.replace(frame, index=index, captured_ns=captured_ns)


def pixel_frame(pixels: Pixels, colour: Colour, capture: Capture) -> Frame:
    """Wrap pixels that a driver or decoder gave: (H, W, 3) uint8, or (H, W) uint8 for GRAY.

    Raises:
        DamagedFrameError: they have another depth, or another number of channels.
    """
    try:
        return Frame(pixels, colour, capture.captured_ns, capture.index, capture.source, capture.capture_ms)
    except ValueError as error:
        raise DamagedFrameError(f"{capture.source}: frame {capture.index}: {error}") from error


def jpeg_frame(packet: Pixels, capture: Capture) -> RawFrame:
    """Wrap what an MJPEG camera or stream sent: (n,) uint8, a JPEG that zero bytes may follow.

    Raises:
        DamagedFrameError: it does not begin as a JPEG does.
    """
    data = _without_padding(packet)
    size = jpeg_size(data.data)
    if size is None:
        start = data[:4].tobytes().hex(" ") or "nothing"
        raise DamagedFrameError(
            f"{capture.source}: frame {capture.index}: expected a JPEG, got {data.size} bytes that begin with {start}"
        )
    return RawFrame(data, Encoding.JPEG, size, capture)


def _without_padding(packet: Pixels) -> Pixels:
    """Cut off the zero bytes with which some drivers fill their buffer up; nothing is copied."""
    if packet.size == 0 or packet[-1] != 0:
        return packet
    used = packet.size
    # In steps: np.flatnonzero of a whole buffer costs more than the padding is long.
    while used:
        block = packet[max(0, used - _PADDING_STEP) : used]
        filled = np.flatnonzero(block)
        if filled.size:
            return packet[: used - block.size + int(filled[-1]) + 1]
        used -= block.size
    return packet[:0]


def is_cut(packet: Pixels) -> bool:
    """Tell whether the end of a JPEG is missing, (n,) uint8. Some cameras send a few more bytes behind it."""
    return packet[-2:].tobytes() != _END and _END not in packet[-1024:].tobytes()


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height in px from a JPEG's header, or None when there is no such header.

    Nothing is decoded: segments are skipped up to the frame header (ITU-T T.81, B.2).
    """
    if bytes(data[:2]) != _START:
        return None
    at, end = 2, len(data)
    while at + 9 <= end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may precede a marker
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        elif marker in _SIZES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return (width, height) if width and height else None
        elif marker == _SCAN:
            return None
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if length < 2:  # it counts itself
                return None
            at += 2 + length
    return None


def _shape(encoding: Encoding, width: int, height: int) -> tuple[int, ...] | None:
    if encoding is Encoding.JPEG:
        return None
    return (height, width, 2) if encoding is Encoding.YUYV else (height * 3 // 2, width)
