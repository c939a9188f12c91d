"""Reads a camera with picamera2, in a process of its own under the system's Python: picamera2 is an apt package.

Started by ``pi_camera.py`` with ``python -I`` as ``pi_camera_child.py SETTINGS MEMORY ANSWERS``: a JSON text, and two
inherited file descriptors. A byte on standard input asks for the next frame, and its end ends this process. The frame
goes into MEMORY (a memfd), and a JSON line about it to ANSWERS. Only frames that are asked for are copied: what nobody
takes in time costs next to nothing, and nothing is ever written into memory that is being read.

It runs on Python 3.9 and imports nothing of this project.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import signal
import sys
import threading
import time
from typing import Any

STREAM = "main"


def main() -> None:
    """Run until standard input ends."""
    settings = json.loads(sys.argv[1])
    memory, answers = int(sys.argv[2]), int(sys.argv[3])
    # The parent ends this process by closing standard input; Ctrl-C in a terminal goes to both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wanted = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(wanted,), daemon=True).start()
    camera, stream = _start(settings)
    used = stream["stride"] * stream["size"][1] * 3 // 2
    os.ftruncate(memory, used)
    room = memoryview(mmap.mmap(memory, used))
    width, height = stream["size"]
    _tell(answers, {"width": width, "height": height, "stride": stream["stride"], "bytes": used})
    index = 0
    while True:
        request = camera.capture_request()
        try:
            if wanted.acquire(blocking=False):
                room[:] = memoryview(request.make_buffer(STREAM)).cast("B")[:used]
                _tell(answers, {"index": index, "captured_ns": _captured_ns(request.get_metadata())})
        finally:
            request.release()
        index += 1


def _listen(wanted: threading.Semaphore) -> None:
    """Count what is asked for. At the end there is no more to do: the camera is let go of with the process."""
    while os.read(0, 1):
        wanted.release()
    os._exit(0)


def _start(settings: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Start the camera: as YUV 4:2:0 of BT.601 in the video range, whatever its size."""
    picamera2 = importlib.import_module("picamera2")
    libcamera = importlib.import_module("libcamera")
    camera = picamera2.Picamera2(settings["camera"])
    controls = {} if settings["fps"] is None else {"FrameRate": settings["fps"]}
    configuration = camera.create_video_configuration(
        main={"size": tuple(settings["size"]), "format": "YUV420"},
        controls=controls,
        colour_space=libcamera.ColorSpace.Smpte170m(),
    )
    camera.configure(configuration)
    camera.start()
    stream = camera.stream_configuration(STREAM)
    if stream["format"] != "YUV420":
        raise SystemExit("expected YUV420 of the camera, got " + str(stream["format"]))
    return camera, stream


def _captured_ns(metadata: dict[str, Any]) -> int:
    """Return when the frame was taken, by the monotonic clock; libcamera stamps with the one since boot."""
    stamp = metadata.get("SensorTimestamp")
    if stamp is None:
        return time.monotonic_ns()
    return int(stamp) - time.clock_gettime_ns(time.CLOCK_BOOTTIME) + time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _tell(answers: int, what: dict[str, int]) -> None:
    os.write(answers, (json.dumps(what) + "\n").encode())


if __name__ == "__main__":
    main()
