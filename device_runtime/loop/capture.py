"""Brings frames from a camera into the loop, and a camera that stopped back to life."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from device_runtime.cameras.awaited import Awaited
from device_runtime.cameras.interface import Camera
from device_runtime.errors import CameraError, EdgeError
from device_runtime.loop.handover import Handover
from device_runtime.loop.status import Status
from device_runtime.vision.raw import AnyFrame, DamagedFrameError
from device_runtime.vision.staging import Item, Stage

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
"""Between attempts to open a camera again: each pause is twice the one before, up to the longest."""

OPEN_S = 60.0
"""Opening or closing a camera that takes this long hangs: what is slow has deadlines of its own, of 20 s together."""

_MOST_LEFT = 4
"""So many threads that hang in a driver are left behind; more of them would not mend it, and each keeps memory."""

_CLOSE_S = 2.0


@dataclass(frozen=True)
class CaptureSetup:
    """How frames come in. ``reopen`` opens a live camera again once it stopped; without it, that ends the run.

    ``stage`` prepares a file's frames for the model while the model is at the one before. Opening or closing that takes
    longer than ``open_s`` hangs.
    """

    reopen: Callable[[], Camera] | None = None
    stage: Stage | None = None
    first_pause_s: float = FIRST_PAUSE_S
    open_s: float = OPEN_S


class Capture:
    """Reads a camera in a thread of its own, and puts what it gives where workers take it."""

    def __init__(self, camera: Camera, frames: Handover[Item], setup: CaptureSetup, status: Status) -> None:
        self.name = camera.name
        self.live = camera.live
        self._frames = frames
        self._setup = setup
        self._status = status
        self._stopped = threading.Event()
        self._left: list[_Reader] = []
        self._reader = _Reader(self, None if isinstance(camera, Awaited) else camera)

    def start(self) -> None:
        """Begin to read."""
        self._reader.start()

    def hung(self, stall_s: float) -> str | None:
        """Return what the camera has been keeping us waiting with for too long: no frame for ``stall_s``, say."""
        doing, since = self._reader.doing
        waited_s = time.monotonic() - since
        if doing == _READ and waited_s > stall_s:
            return f"{self.name}: no frame for {stall_s:g} s"
        if doing == _OPEN and waited_s > self._setup.open_s:
            return f"{self.name}: cannot be opened within {self._setup.open_s:g} s"
        return None

    def waits(self) -> bool:
        """Tell whether it waits for a frame, or for a camera to come back, and is able to go on."""
        self._left = [reader for reader in self._left if reader.is_alive()]
        return self._reader.is_alive() and self._reader.doing[0] != _BUSY and len(self._left) <= _MOST_LEFT

    def replace(self, reason: str) -> bool:
        """Give up a camera that hangs, and open it again; False where that is not possible.

        A thread that hangs in a dead driver cannot be ended: it is left behind, and what it still gives is not used.
        """
        if self._setup.reopen is None or not self.live:
            return False
        self._reader.abandoned.set()
        self._left.append(self._reader)
        self._reader = _Reader(self, None, reason)
        self._reader.start()
        return True

    def stop(self) -> None:
        """End reading; a thread that hangs in a dead driver is left behind, it is a daemon."""
        self._stopped.set()
        self._frames.close()
        self._reader.abandoned.set()
        try:
            self._reader.join(_CLOSE_S)
        except RuntimeError:  # an interruption came before it was started: nobody else lets go of the camera
            self._reader.close_camera()

    def run_reader(self, reader: _Reader) -> None:
        """Read until the end, or until nobody wants any more. Called in the reader's thread."""
        failure: BaseException | None = None
        try:
            while (error := self._read(reader)) is not None:
                if not self._open_again(reader, error):
                    break
        except BaseException as error:  # noqa: BLE001 - it is raised where the run ends
            failure = error
        reader.close_camera()
        if not reader.abandoned.is_set():
            if failure is None:
                self._status.telemetry.camera_ended()
            self._frames.close(failure)

    def _read(self, reader: _Reader) -> str | None:
        """Read until the end (None), or until the camera stops and may be opened again: why it stopped."""
        if reader.camera is None:
            return reader.reason
        # A file's next frame is read while the one before it is in the model, and not earlier: it would only grow old.
        while self.live or self._frames.wait_for_room():
            try:
                frame = reader.read()
                if frame is None or reader.abandoned.is_set():
                    return None
                dropped = self._frames.dropped
                if not self._frames.put(frame if self._setup.stage is None else self._setup.stage(frame)):
                    return None
                if self._frames.dropped > dropped:
                    self._status.telemetry.dropped()
            except DamagedFrameError as error:
                self._status.note_damaged(error)
            except CameraError as error:
                if not self.live or self._setup.reopen is None:
                    raise
                return str(error)
        return None

    def _open_again(self, reader: _Reader, reason: str) -> bool:
        """Open the camera again, however often it takes; False when nobody wants it any more.

        Without a ``reason`` it was never open: then it is opened at once, and what can never be is raised.
        """
        lost, never = bool(reason), not reason
        if lost:
            self._lose(reason, "opening it again")
        reader.close_camera()
        pause_s = self._setup.first_pause_s
        while self._setup.reopen is not None and self._wait(reader, pause_s if lost else 0.0):
            try:
                with reader.at(_OPEN):
                    reader.camera = self._setup.reopen()
            except EdgeError as error:
                if never and not isinstance(error, CameraError):
                    raise
                if lost:
                    self._status.telemetry.camera_lost(str(error))
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                else:
                    self._lose(str(error), "waiting for it")
                lost = True
            else:
                return not reader.abandoned.is_set() and self._found(never=never, lost=lost)
        return False

    def _wait(self, reader: _Reader, pause_s: float) -> bool:
        with reader.at(_PAUSE):
            return not self._stopped.wait(pause_s) and not reader.abandoned.is_set()

    def _lose(self, reason: str, what_now: str) -> None:
        self._status.telemetry.camera_lost(reason)
        self._status.warn(f"{reason}; {what_now}")

    def _found(self, *, never: bool, lost: bool) -> bool:
        if lost:
            self._status.telemetry.camera_back()
            self._status.tell(f"{self.name} is there now" if never else f"{self.name} gives frames again")
        return True


_READ, _OPEN, _PAUSE, _BUSY = "read", "open", "pause", "busy"
_AT_WORK = (_BUSY, 0.0)


class _Reader(threading.Thread):
    """One thread that reads a camera. ``doing`` is what it is at, and since when by the monotonic clock."""

    def __init__(self, capture: Capture, camera: Camera | None, reason: str = "") -> None:
        super().__init__(name="capture", daemon=True)
        self._capture = capture
        self.camera = camera
        self.reason = reason
        self.abandoned = threading.Event()
        self.doing: tuple[str, float] = _AT_WORK

    def run(self) -> None:
        self._capture.run_reader(self)

    def read(self) -> AnyFrame | None:
        """Read a frame, and let it be known how long that takes."""
        self.doing = (_READ, time.monotonic())
        try:
            return None if self.camera is None else self.camera.read()
        finally:
            self.doing = _AT_WORK

    @contextlib.contextmanager
    def at(self, what: str) -> Iterator[None]:
        """Let it be known what is done, and for how long."""
        self.doing = (what, time.monotonic())
        try:
            yield
        finally:
            self.doing = _AT_WORK

    def close_camera(self) -> None:
        """Let go of the camera, whatever state it is in."""
        if self.camera is not None:
            with self.at(_OPEN), contextlib.suppress(Exception):
                self.camera.close()
        self.camera = None
