"""Network cameras by RTSP, through OpenCV and FFmpeg: over TCP, with deadlines, and without secrets in messages."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import cv2
import numpy as np

from device_runtime.cameras.opencv import OpenCapture, fourcc_text, known_fps
from device_runtime.contract.events import Events, Notice, silent
from device_runtime.contract.model import Colour
from device_runtime.errors import CameraError, UsageError
from device_runtime.vision.frame import Pixels
from device_runtime.vision.raw import AnyFrame, Capture, jpeg_frame, pixel_frame

CREDENTIALS = "EDGEKIT_RTSP_AUTH"
"""The environment variable with ``USER:PASSWORD``, for a URL that has none."""

_PORTS = {"rtsp": 554, "rtsps": 322}  # IANA
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# Of UDP packets some are lost, and then pictures are torn. nobuffer: what came while the stream was looked at is not
# kept, so that the first frames are new.
_FFMPEG = "rtsp_transport;tcp|fflags;nobuffer"
_THREADS = 2  # FFmpeg's frame threads hold back a frame each but one: all cores of a board would add 100 ms at 30 fps
_SECRET = re.compile(r"((?:pass(?:word|wd)?|pwd|token|auth|key|secret|user(?:name)?)=)[^&_/?#]*", re.IGNORECASE)
_PACKETS = -1
_BACKLOG_S = 2.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a camera may take to answer, to begin, and for each frame."""

    connect_s: float = 4.0
    open_s: float = 8.0
    read_s: float = 5.0


class RtspCamera:
    """A stream from a network camera. MJPEG is handed over undecoded, H.264 and H.265 as BGR pictures."""

    live = True

    def __init__(self, url: str, events: Events = silent, deadlines: Deadlines | None = None) -> None:
        """Open a stream.

        Args:
            url: ``rtsp://…`` or ``rtsps://…``; ``EDGEKIT_RTSP_AUTH`` completes one without credentials.
            events: hears of a stream that changes its size.
            deadlines: how long it may take.

        Raises:
            UsageError: it is no such URL.
            CameraError: nobody answers there, or there is no stream.
        """
        parts = _split(url)
        self.name = masked_url(url)
        self._events = events
        self._deadlines = deadlines or Deadlines()
        self._address = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        self._url = _with_credentials(parts)
        self._index = 0
        self._watch = SizeWatch()
        self._capture, self._packets = self._open()
        self.fps = known_fps(self._capture.get(cv2.CAP_PROP_FPS))

    def read(self) -> AnyFrame | None:
        """Wait for the next frame.

        Raises:
            DamagedFrameError: the frame is no JPEG.
            CameraError: the stream ended, or gave no frame within the deadline.
        """
        started = time.monotonic()
        grabbed = self._capture.grab()
        waited_s = time.monotonic() - started
        # Out of time, OpenCV first gives the frame that FFmpeg's threads held back: it is as old as the deadline.
        late = waited_s >= self._deadlines.read_s
        if late or not grabbed:
            what = f"no frame for {waited_s:.0f} s" if late else "the stream ended"
            raise CameraError(
                f"{self.name}: {what} after {self._index} frames",
                hint="is the camera on, and is the network there?",
            )
        captured = time.monotonic_ns()
        given, data = self._capture.retrieve()
        if not given:
            raise CameraError(f"{self.name}: frame {self._index} cannot be decoded")
        capture = Capture(captured, self._index, self.name, (time.monotonic_ns() - captured) / 1e6)
        self._index += 1
        if self._packets:
            return jpeg_frame(data.reshape(-1), capture)
        if self._watch.suspects(data, key_frame=bool(self._capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))):
            return self._begin_again(data.shape[1::-1])
        return pixel_frame(data, Colour.BGR, capture)

    def close(self) -> None:
        """End the stream."""
        self._capture.release()

    def _begin_again(self, before: tuple[int, int]) -> AnyFrame | None:
        self._capture.release()
        self._capture, self._packets = self._open()
        frame = self.read()
        if frame is not None and (frame.width, frame.height) != before:
            self._watch = SizeWatch()
            self._events(
                Notice(f"{self.name}: the stream is {frame.width}x{frame.height} now, was {before[0]}x{before[1]}")
            )
        return frame

    def _open(self) -> tuple[OpenCapture, bool]:
        """Open the stream, and tell whether it gives packets: OpenCV does not say why it cannot, so ask before."""
        host, port = self._address
        try:
            socket.create_connection(self._address, self._deadlines.connect_s).close()
        except OSError as error:
            raise CameraError(
                f"{self.name}: cannot reach {host} port {port}: {error}",
                hint=f"see: ping {host}; and try the URL in a player",
            ) from None
        parameters = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(self._deadlines.open_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(self._deadlines.read_s * 1000)),
            *(cv2.CAP_PROP_N_THREADS, _THREADS),
        ]
        with _ffmpeg_options():
            capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, parameters)
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                f"{self.name}: {host} answers, but gives no stream: expected another path, or a user and a password",
                hint=f"export {CREDENTIALS}=USER:PASSWORD; and try the URL in a player",
            )
        jpeg = fourcc_text(capture.get(cv2.CAP_PROP_FOURCC)).upper() == "MJPG"
        packets = jpeg and capture.set(cv2.CAP_PROP_FORMAT, _PACKETS)
        _skip_backlog(capture)
        return capture, packets


class SizeWatch:
    """Notices that a stream changed its size, which OpenCV 4.11 hides: it keeps on giving pictures of the first size.

    Of a smaller picture it fills the upper part, of a larger one nothing: either way the lowest rows stay the same to
    the bit, which between two key frames a camera's do not. A scene that does so all the same (a bar in one colour
    does not count) is suspected again only after a time that doubles. That the width alone changes is not noticed.
    """

    _ROWS = 16
    _FIRST_PAUSE_S = 60.0
    _LONGEST_PAUSE_S = 3600.0

    def __init__(self) -> None:
        self._strip: Pixels | None = None
        self._in_key_frame = False
        self._pause_s = self._FIRST_PAUSE_S
        self._quiet_until_s = 0.0

    def suspects(self, pixels: Pixels, *, key_frame: bool) -> bool:
        """Look at a frame, (H, W, 3) uint8; True when it is worth to open the stream again."""
        begins, self._in_key_frame = key_frame and not self._in_key_frame, key_frame
        if not begins:
            return False
        strip = pixels[-self._ROWS :]
        before, self._strip = self._strip, strip.copy()
        if before is None or not np.array_equal(before, strip) or strip.min() == strip.max():
            return False
        now = time.monotonic()
        if now < self._quiet_until_s:
            return False
        self._strip = None
        self._quiet_until_s = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, self._LONGEST_PAUSE_S)
        return True


def _skip_backlog(capture: OpenCapture) -> None:
    """Leave out the frames that came while the stream was being opened, up to two seconds of them.

    They come at once, and stamped with that moment they would pass for new; the first new one is waited for.
    """
    interval_s = 1.0 / (known_fps(capture.get(cv2.CAP_PROP_FPS)) or 30.0)
    end = time.monotonic() + _BACKLOG_S
    begun = time.monotonic()
    while begun < end and capture.grab():
        begun, before = time.monotonic(), begun
        if begun - before > interval_s / 2:
            return


def masked_url(url: str) -> str:
    """Return a URL for people: its password, and what looks like one in path or query, is ``***``."""
    scheme, mark, rest = url.partition("://")
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    login, at, host = rest[:end].rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{user}:***@" if colon else f"{login}{at}"
    return scheme + mark + shown + host + _SECRET.sub(r"\1***", rest[end:])


def _split(url: str) -> SplitResult:
    """Raise UsageError where ``url`` is no RTSP URL."""
    if any(character.isspace() or not character.isprintable() for character in url):
        raise UsageError(f"source: expected a URL without spaces, got {masked_url(url)!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"source {masked_url(url)}: expected rtsp://HOST[:PORT]/PATH: {error}") from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise UsageError(f"source: expected rtsp://HOST[:PORT]/PATH, got {masked_url(url)}")
    return parts


def _with_credentials(parts: SplitResult) -> str:
    """Return the URL with its credentials as they are written in URLs, taken from the environment when it has none."""
    user, password = parts.username, parts.password
    if user is None:
        given = os.environ.get(CREDENTIALS, "")
        if not given:
            return urlunsplit(parts)
        user, colon, password = given.partition(":")
        if not (user and colon):
            raise UsageError(f"{CREDENTIALS}: expected USER:PASSWORD, got no colon or no user")
    else:
        user, password = unquote(user), unquote(password) if password is not None else None
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password is not None else "")
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


@contextlib.contextmanager
def _ffmpeg_options() -> Iterator[None]:
    """Set what OpenCV's FFmpeg opens a stream with; it is the environment's, and a user's own setting stays."""
    if _OPTIONS in os.environ:
        yield
        return
    os.environ[_OPTIONS] = _FFMPEG
    try:
        yield
    finally:
        os.environ.pop(_OPTIONS, None)
