"""Small videos and cameras that do what a test needs."""

import threading
import time

import cv2
import numpy as np

from device_runtime.contract.model import Colour
from device_runtime.vision.frame import Frame


def write_video(path, frames=20, size=(64, 48), fps=25.0):
    """Write a video whose frames are ever brighter grey."""
    codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), codec, fps, size)
    for index in range(frames):
        writer.write(np.full((size[1], size[0], 3), index * 255 // max(1, frames - 1), np.uint8))
    writer.release()
    return path


class ScriptedCamera:
    """A camera whose frames, pauses and failures are given.

    ``script`` has ``(pause in seconds, value)`` entries: a grey level gives a frame, an exception is raised, None ends.
    """

    fps = 100.0

    def __init__(self, script, *, live=False, name="scripted"):
        self.name = name
        self.live = live
        self.closed = threading.Event()
        self._script = iter(script)
        self._index = 0

    @property
    def given(self):
        """How many frames were read."""
        return self._index

    def read(self):
        pause, value = next(self._script, (0, None))
        time.sleep(pause)
        if value is None:
            return None
        if isinstance(value, BaseException):
            raise value
        frame = Frame(np.full((48, 64, 3), value, np.uint8), Colour.RGB, time.monotonic_ns(), self._index, self.name)
        self._index += 1
        return frame

    def close(self):
        self.closed.set()


class HangingCamera(ScriptedCamera):
    """A camera that stops giving frames after the first and never comes back, until the test lets it go."""

    def __init__(self):
        super().__init__([], live=True, name="hanging")
        self.release = threading.Event()

    def read(self):
        if self._index:
            self.release.wait()
            return None
        self._script = iter([(0, 1)])
        return super().read()


class ListSink:
    """Keeps what it is given."""

    def __init__(self, pause_s=0.0, failure=None, until=None, *, name="list", vital=True, depth=4, events_only=False):
        self.name = name
        self.vital = vital
        self.depth = depth
        self.events_only = events_only
        self.taken = []
        self.closed = None
        self._pause_s = pause_s
        self._failure = failure
        self._until = until

    def take(self, frame, prediction):
        time.sleep(self._pause_s)
        if self._until is not None:
            self._until.wait()
        if self._failure is not None:
            raise self._failure
        self.taken.append((frame, prediction))

    def close(self, *, failed):
        self.closed = failed
