"""Frame sources by their schemes: ``v4l2:0``, ``rtsp://…``, ``file:clip.mp4``, ``dir:pictures``, ``synthetic:belt``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_runtime.cameras.interface import Camera
from device_runtime.cameras.options import Asked, CameraOptions, merge, not_taken, parse_options
from device_runtime.contract.events import Events, Notice, silent
from device_runtime.errors import CameraError, UsageError
from device_runtime.vision.raw import AnyFrame, restamp

__all__ = ["SCHEMES", "CameraOptions", "Repeating", "Scheme", "is_camera", "open_camera", "public_name"]

_NOTHING = CameraOptions()


# Each source is imported by those who open it: all of them together take 40 ms.


def _v4l2(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.v4l2 import V4l2Camera  # noqa: PLC0415

    which = asked.what
    if not which.isdecimal() and not which.startswith("/dev/"):
        raise UsageError(
            f"camera: expected a number as in v4l2:0, or a device as in v4l2:/dev/v4l/by-id/…, got {which!r}",
            hint="see: ls /dev/video* /dev/v4l/by-id",
        )
    return V4l2Camera(which, asked.options, events)


def _picamera2(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.pi_camera import PiCamera  # noqa: PLC0415

    if not asked.what.isdecimal():
        raise UsageError(
            f"camera: expected a number as in picamera2:0, got {asked.what!r}", hint="rpicam-hello --list-cameras"
        )
    return PiCamera(int(asked.what), asked.options, events)


def _camera(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.pi_camera import is_preferred  # noqa: PLC0415

    if asked.what.isdecimal() and asked.options.format is None and is_preferred():
        return _picamera2(asked, events)
    return _v4l2(asked, events)


def _rtsp(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.rtsp import RtspCamera  # noqa: PLC0415

    return RtspCamera(asked.what, events)


def _file(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.video import VideoFile  # noqa: PLC0415

    del events
    return _at_own_speed(VideoFile(Path(asked.what)), asked)


def _dir(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.pictures import PictureFolder  # noqa: PLC0415

    del events
    return PictureFolder(Path(asked.what))


def _synthetic(asked: Asked, events: Events) -> Camera:
    from device_runtime.cameras.synthetic import SyntheticCamera  # noqa: PLC0415

    del events
    return _at_own_speed(SyntheticCamera(asked.what, asked.options.size), asked)


def _at_own_speed(camera: Camera, asked: Asked) -> Camera:
    """Play it as if it were a camera where ``?live`` or ``?fps=`` says so."""
    if not asked.live and asked.options.fps is None:
        return camera
    fps = asked.options.fps or camera.fps
    if fps is None:
        camera.close()
        raise UsageError(f"{camera.name}: expected a video that tells its rate, got none", hint="say it: ?fps=30")
    from device_runtime.cameras.paced import Paced  # noqa: PLC0415

    return Paced(camera, fps)


@dataclass(frozen=True, slots=True)
class Scheme:
    """How sources of a scheme are opened.

    ``options`` are those that its text may have; ``asks`` those of them that a service's ``CameraOptions`` stand for.
    ``url`` schemes take the whole source. ``device``: it is a camera, which may be missing and come back.
    """

    open: Callable[[Asked, Events], Camera]
    options: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    url: bool = False
    device: bool = False


_ALL = ("size", "fps", "format")

SCHEMES: dict[str, Scheme] = {
    "v4l2": Scheme(_v4l2, _ALL, _ALL, device=True),
    "picamera2": Scheme(_picamera2, ("size", "fps"), ("size", "fps"), device=True),
    "camera": Scheme(_camera, _ALL, _ALL, device=True),
    "rtsp": Scheme(_rtsp, url=True, device=True),
    "rtsps": Scheme(_rtsp, url=True, device=True),
    "file": Scheme(_file, ("live", "fps")),
    "dir": Scheme(_dir),
    "synthetic": Scheme(_synthetic, ("size", "fps", "live"), ("size",)),
}
"""The schemes by name. ``camera:0`` is the machine's own way to camera 0: picamera2 where that is, else V4L2."""


def open_camera(source: str, options: CameraOptions = _NOTHING, events: Events = silent) -> Camera:
    """Open a source of frames.

    Args:
        source: ``SCHEME:WHAT``, with what is asked of it behind a question mark, or an RTSP URL.
        options: what is asked of it beside that.
        events: hears where a camera gives something else than what was asked of it, and of options that the source
            does not have.

    Raises:
        UsageError: it is no such source, or source and ``options`` ask for different things.
        CameraError: it is absent or cannot be opened.
    """
    name, colon, rest = source.partition(":")
    scheme = SCHEMES.get(name)
    if not colon or scheme is None or not rest.partition("?")[0]:
        forms = "v4l2:0, picamera2:0, rtsp://…, file:clip.mp4, dir:pictures or synthetic:belt"
        raise UsageError(f"source: expected {forms}, got {public_name(source)!r}")
    if scheme.url:
        asked, said = Asked(source, CameraOptions()), options
    else:
        asked = parse_options(source, rest, scheme.options)
        taken = CameraOptions(**{field: getattr(options, field) for field in scheme.asks})
        said = options
        asked = Asked(asked.what, merge(source, asked.options, taken), asked.live)
    ignored = not_taken(said, scheme.asks)
    if ignored:
        events(Notice(f"{public_name(source)}: {' and '.join(ignored)} cannot be asked of this source"))
    return scheme.open(asked, events)


def is_camera(source: str) -> bool:
    """Tell whether a source is a camera: one that may be missing now and there later, unlike a file."""
    scheme = SCHEMES.get(source.partition(":")[0])
    return scheme is not None and scheme.device


def public_name(source: str) -> str:
    """Return a source for people, logs and pages: without the password of a URL."""
    if "://" not in source:
        return source
    from device_runtime.cameras.rtsp import masked_url  # noqa: PLC0415

    return masked_url(source)


class Repeating:
    """A source that begins again at its end, so that a measurement can last as long as it needs."""

    def __init__(self, source: str, options: CameraOptions = _NOTHING, events: Events = silent) -> None:
        """Open ``source``; see ``open_camera``."""
        self._open: Callable[[], Camera] = lambda: open_camera(source, options, events)
        self._camera = self._open()
        self._index = 0
        self.name = self._camera.name
        self.live = self._camera.live
        self.fps = self._camera.fps

    def read(self) -> AnyFrame | None:
        """Return the next frame. Raises CameraError when the source has none at all."""
        frame = self._camera.read()
        if frame is None:
            self._camera.close()
            self._camera = self._open()
            frame = self._camera.read()
            if frame is None:
                raise CameraError(f"{self.name}: no frames in it")
        frame = restamp(frame, index=self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Close the source."""
        self._camera.close()
