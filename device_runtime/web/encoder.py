"""One thread that makes pictures for all viewers, and sleeps while there are none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from device_runtime.contract.prediction import Prediction
from device_runtime.vision.raw import AnyFrame

Show = Callable[[bytes], None]
Make = Callable[[AnyFrame, Prediction], bytes]
"""Makes a picture of a frame; one thread at a time calls it."""


class Encoder:
    """Keeps the newest frame, and makes a picture of it when somebody looks: one for all of them.

    ``offer`` costs nothing but keeping a reference. Frames that come faster than pictures are wanted are passed over.
    """

    def __init__(self, fps: float, make: Make, show: Show) -> None:
        """Make at most ``fps`` pictures a second with ``make``, and give each to ``show``."""
        self.encoded = 0
        self._error = ""
        self._interval_s = 1 / fps
        self._picture_of = make
        self._show = show
        self._newest: tuple[AnyFrame, Prediction] | None = None
        self._made: tuple[object, bytes] | None = None
        self._making = threading.Lock()
        self._looking = False
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page-encoder", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, frame: AnyFrame, prediction: Prediction) -> None:
        """Keep the newest frame, and wake the thread if somebody looks."""
        self._newest = (frame, prediction)
        if self._looking:
            self._wake.set()

    def look(self, viewers: int) -> None:
        """Say how many look; the newest frame, if there is one, is shown at once."""
        self._looking = viewers > 0
        if self._looking:
            self._wake.set()

    def snapshot(self) -> bytes | None:
        """Return a picture of the newest frame, made here if it is not made yet; None when there was no frame yet.

        Raises:
            DamagedFrameError: the frame cannot be decoded.
        """
        newest = self._newest
        return None if newest is None else self._make(newest)

    @property
    def failed(self) -> bool:
        """Whether there is an error to take."""
        return bool(self._error)

    def take_error(self) -> str:
        """Return what went wrong since this was asked last, or an empty text."""
        error, self._error = self._error, ""
        return error

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._newest = self._made = None

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._closing:
                return
            newest, began = self._newest, time.monotonic()
            if not self._looking or newest is None:
                continue
            try:
                self._show(self._make(newest))
            except Exception as error:  # noqa: BLE001 - reported by ``take_error``; the next frame may be all right
                self._error = str(error) or type(error).__name__
            self._rest(began + self._interval_s)

    def _make(self, newest: tuple[AnyFrame, Prediction]) -> bytes:
        with self._making:
            if self._made is None or self._made[0] is not newest:
                self._made = (newest, self._picture_of(*newest))
                self.encoded += 1
            return self._made[1]

    def _rest(self, until: float) -> None:
        """Wait for the next picture's time; only the end wakes it earlier."""
        while not self._closing and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
