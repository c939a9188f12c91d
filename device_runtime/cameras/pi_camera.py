"""Cameras of a Raspberry Pi's camera connector, read with picamera2 by a process of the system's Python."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from device_runtime.cameras.options import CameraOptions
from device_runtime.contract.decode import loads
from device_runtime.contract.events import Events, Notice, silent
from device_runtime.errors import BadFileError, CameraError
from device_runtime.vision.frame import Pixels
from device_runtime.vision.raw import AnyFrame, Capture, Encoding, RawFrame

PYTHON = "EDGEKIT_SYSTEM_PYTHON"
"""The environment variable with the Python that has picamera2, where it is not ``/usr/bin/python3``."""

_SIZE = (1280, 720)
_SYSTEM_PYTHON = "/usr/bin/python3"
_CHILD = Path(__file__).with_name("pi_camera_child.py")
_DRIVERS = ("unicam", "rp1-cfe")  # what the camera connectors are called: Pi 0–4, and Pi 5
_KEPT_LINES = 15
_LONGEST_LINE = 400
_LARGEST_BYTES = 100_000_000
_NOT_PASSED_ON = ("PYTHON", "EDGEKIT_", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD")
_FIND = "import importlib.util as u, sys; sys.exit(u.find_spec('picamera2') is None)"


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long picamera2 may take to start (its import alone takes seconds on a board), for a frame, and to end."""

    open_s: float = 30.0
    read_s: float = 5.0
    close_s: float = 2.0


@dataclass(frozen=True)
class _Layout:
    """What the camera was set to: size in px, and the bytes from row to row of Y; U and V have half of each."""

    width: int
    height: int
    stride: int
    bytes: int

    def __post_init__(self) -> None:
        even = self.width % 2 == 0 and self.height % 2 == 0 and self.stride % 2 == 0
        sized = 0 < self.width <= self.stride and self.height > 0 and self.bytes == self.stride * self.height * 3 // 2
        if not (even and sized and self.bytes <= _LARGEST_BYTES):
            raise ValueError(f"expected YUV 4:2:0 planes, got {self}")


@dataclass(frozen=True)
class _Answer:
    """A frame is in the shared memory: its number, dropped ones included, and when it was taken."""

    index: int
    captured_ns: int


T = TypeVar("T", _Layout, _Answer)


class PiCamera:
    """A camera by picamera2. Frames are I420, as the camera's own processor makes them, and come through shared memory.

    Each frame is asked for: the process copies the next one that is taken into the memory, and here it is copied out.
    """

    live = True

    def __init__(
        self, number: int, options: CameraOptions, events: Events = silent, deadlines: Deadlines | None = None
    ) -> None:
        """Start the process and wait until the camera runs.

        Raises:
            CameraError: there is no picamera2, no such camera, or it does not start in time.
        """
        self.name = f"picamera2:{number}"
        self.fps = options.fps
        self._deadlines = deadlines or Deadlines()
        python = system_python()
        if not has_picamera2(python):
            raise CameraError(f"{self.name}: {python} has no picamera2", hint="sudo apt install python3-picamera2")
        size = options.size or _SIZE
        settings = {"camera": number, "size": _even(size), "fps": options.fps}
        self._child = _Child(python, settings, self.name)
        self._asked = False
        try:
            self._layout = self._child.answer(_Layout, self._deadlines.open_s, "did not start")
            self._memory = self._child.map(self._layout.bytes)
        except BaseException:
            self._child.end(self._deadlines.close_s)
            raise
        given = (self._layout.width, self._layout.height)
        if options.size is not None and given != options.size:
            events(
                Notice(
                    f"{self.name}: expected size {size[0]}x{size[1]}, the camera gives {given[0]}x{given[1]}", "warning"
                )
            )

    def read(self) -> AnyFrame | None:
        """Wait for the next frame. Raises CameraError when it does not come, or the process ended."""
        if not self._asked:  # never twice: the process would write while here is read
            self._child.ask()
            self._asked = True
        answer = self._child.answer(_Answer, self._deadlines.read_s, "gave no frame")
        self._asked = False
        started = time.monotonic_ns()
        pixels = self._copy()
        capture = Capture(answer.captured_ns, answer.index, self.name, (time.monotonic_ns() - started) / 1e6)
        return RawFrame(pixels, Encoding.I420, (self._layout.width, self._layout.height), capture)

    def close(self) -> None:
        """End the process."""
        self._memory = np.empty(0, np.uint8)
        self._child.end(self._deadlines.close_s)

    def _copy(self) -> Pixels:
        """Return the frame in memory of its own, without what fills its rows up: (H * 3 / 2, W) uint8."""
        width, height, stride = self._layout.width, self._layout.height, self._layout.stride
        if stride == width:
            return self._memory.reshape(height * 3 // 2, width).copy()
        out = np.empty((height * 3 // 2, width), np.uint8)
        luma = stride * height
        out[:height] = self._memory[:luma].reshape(height, stride)[:, :width]
        chroma = self._memory[luma:].reshape(height, stride // 2)[:, : width // 2]
        out[height:].reshape(height, width // 2)[...] = chroma
        return out


class _Child:
    """The process, the memory it writes frames into, and the pipes between."""

    def __init__(self, python: str, settings: Mapping[str, object], name: str) -> None:
        self._name = name
        self._unread = b""
        self._memory = os.memfd_create("edgekit-frame", os.MFD_CLOEXEC)
        self._answers, answers = os.pipe()
        command = [python, "-I", str(_CHILD), json.dumps(settings), str(self._memory), str(answers)]
        try:
            # Not PR_SET_PDEATHSIG: that comes with the end of the thread that opened the camera. A process that was
            # killed closes its pipes too.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(self._memory, answers),
                env=_clean_environment(),
                cwd="/",
            )
        except OSError as error:
            os.close(self._answers)
            os.close(self._memory)
            raise CameraError(f"{name}: cannot start {python}: {error.strerror}") from None
        finally:
            os.close(answers)
        self._said: deque[str] = deque(maxlen=_KEPT_LINES)
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        self._listener = threading.Thread(target=_keep_lines, args=(self._process.stderr, self._said), daemon=True)
        self._listener.start()

    def ask(self) -> None:
        """Ask for the next frame."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):  # why it ended is told where its answer is missing
            self._process.stdin.write(b"n")

    def answer(self, kind: type[T], timeout_s: float, failure: str) -> T:
        """Wait for the next line. Raises CameraError when it does not come."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise CameraError(f"{self._name} {failure} within {timeout_s:g} s{self._last_lines()}")
            part = os.read(self._answers, 4096)
            if not part:
                raise self._ended()
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            return loads(kind, line.decode(errors="replace"), self._name)
        except BadFileError as error:
            raise CameraError(f"{self._name}: its process says what was not expected: {error}") from None

    def map(self, size_bytes: int) -> Pixels:
        """Return the memory that frames come in: (size_bytes,) uint8, read only."""
        if os.fstat(self._memory).st_size < size_bytes:
            raise CameraError(f"{self._name}: expected {size_bytes} bytes of shared memory, got less")
        return np.frombuffer(mmap.mmap(self._memory, size_bytes, prot=mmap.PROT_READ), np.uint8)

    def end(self, timeout_s: float) -> None:
        """End the process, and whatever it takes."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout_s)
        for descriptor in (self._answers, self._memory):
            os.close(descriptor)

    def _ended(self) -> CameraError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._listener.join(1.0)
        return CameraError(f"{self._name}: its process ended with {self._process.returncode}{self._last_lines()}")

    def _last_lines(self) -> str:
        lines = [line for line in self._said if line]
        return f": {lines[-1]}" if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)


def system_python() -> str:
    """Return the Python that picamera2 is looked for in."""
    return os.environ.get(PYTHON) or _SYSTEM_PYTHON


def has_picamera2(python: str) -> bool:
    """Tell whether a Python has picamera2; it is looked for, not imported, which would take seconds."""
    try:
        command = [python, "-I", "-c", _FIND]
        found = subprocess.run(command, env=_clean_environment(), capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0


def is_preferred(devices: Path = Path("/sys/class/video4linux")) -> bool:
    """Tell whether ``camera:0`` is picamera2's: there is a camera connector in use, and picamera2 to read it."""
    return has_csi_camera(devices) and has_picamera2(system_python())


def has_csi_camera(devices: Path) -> bool:
    """Tell whether the kernel found a camera at a camera connector: only then there is a device of its driver."""
    for name in devices.glob("*/name"):
        with contextlib.suppress(OSError):
            if name.read_text().startswith(_DRIVERS):
                return True
    return False


def _clean_environment() -> dict[str, str]:
    """Return the environment without what belongs to this Python, and without our secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}


def _even(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] & ~1, size[1] & ~1


def _keep_lines(stream: IO[bytes], lines: deque[str]) -> None:
    """Read to the end, so that the process never waits for room, and keep the last lines."""
    with stream:
        for line in iter(lambda: stream.readline(_LONGEST_LINE), b""):
            lines.append(line.decode(errors="replace").rstrip())
