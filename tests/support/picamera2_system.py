"""A Python that has picamera2, for tests: the real interpreter, and modules with the part of its API that is used.

The names and their behaviour are those of picamera2 0.3: ``Picamera2(camera_num)``, ``create_video_configuration``,
``configure``, ``start``, ``stream_configuration``, ``capture_request`` and of the request ``make_buffer``,
``get_metadata`` and ``release``; rows of YUV420 are filled up to 64 bytes.
"""

import sys
from textwrap import dedent

PICAMERA2 = """
import ctypes
import os
import sys
import threading
import time

import libcamera

SCRIPT = {script!r}


class _Request:
    def __init__(self, camera, number):
        self.camera, self.number, self.released = camera, number, False

    def make_buffer(self, name):
        assert name == "main" and not self.released
        width, height = self.camera.stream["size"]
        stride = self.camera.stream["stride"]
        level = self.number % 200 + 16
        def plane(rows, columns, padded, value):
            return (bytes([value]) * columns + b"\\xee" * (padded - columns)) * rows
        return (
            bytearray(plane(height, width, stride, level))
            + plane(height // 2, width // 2, stride // 2, 90)
            + plane(height // 2, width // 2, stride // 2, 240)
        )

    def get_metadata(self):
        return {{"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 7_000_000, "FrameDuration": 33333}}

    def release(self):
        assert not self.released, "released twice"
        self.released = True
        self.camera.held -= 1


class Picamera2:
    def __init__(self, camera_num=0):
        if camera_num > 0:
            raise IndexError("list index out of range")
        self.held = 0
        self.number = 0
        self.configuration = None

    def create_video_configuration(self, main={{}}, controls={{}}, colour_space=None, buffer_count=6):
        assert isinstance(colour_space, libcamera.ColorSpace), colour_space
        assert main["format"] == "YUV420", main
        return {{"main": dict(main), "controls": dict(controls), "buffer_count": buffer_count}}

    def configure(self, configuration):
        width, height = configuration["main"]["size"]
        if SCRIPT.get("size"):
            width, height = SCRIPT["size"]
        stride = (width + 63) // 64 * 64
        main = {{"format": SCRIPT.get("format", "YUV420"), "size": (width, height), "stride": stride}}
        main["framesize"] = stride * height * 3 // 2
        self.configuration = dict(configuration, main=main)
        self.stream = main

    def start(self):
        assert self.configuration is not None
        if SCRIPT.get("start_hangs"):
            threading.Event().wait()
        print("Camera started", file=sys.stderr)
        print("noise on stdout")

    def stream_configuration(self, name="main"):
        return self.configuration[name]

    def capture_request(self):
        self.held += 1
        assert self.held <= self.configuration["buffer_count"], "requests are not released"
        time.sleep(1 / self.configuration["controls"].get("FrameRate", 100))
        number, self.number = self.number, self.number + 1
        if number == SCRIPT.get("crashes_at"):
            print("ERROR V4L2 v4l2_videodevice.cpp: Dequeue timer has expired!", file=sys.stderr)
            os._exit(7)
        if number == SCRIPT.get("raises_at"):
            raise RuntimeError("Camera frontend has timed out!")
        if number == SCRIPT.get("pauses_at"):
            time.sleep(SCRIPT["pause_s"])
        if number == SCRIPT.get("sticks_at"):
            ctypes.PyDLL(None).sleep(3600)
        if number == SCRIPT.get("hangs_at"):
            threading.Event().wait()
        return _Request(self, number)
"""

LIBCAMERA = """
class ColorSpace:
    @staticmethod
    def Smpte170m():
        return ColorSpace()
"""


def system_python(folder, **script):
    """Write a Python with picamera2 into ``folder`` and return its path.

    Args:
        folder: where to.
        script: what its camera does: ``size`` (it gives this one), ``format``, ``start_hangs``, and at which frame it
            ``crashes_at``, ``raises_at``, ``hangs_at``, ``sticks_at`` (with the interpreter's lock held), or
            ``pauses_at`` for ``pause_s``.
    """
    modules = folder / "modules"
    modules.mkdir()
    (modules / "picamera2.py").write_text(PICAMERA2.format(script=script))
    (modules / "libcamera.py").write_text(LIBCAMERA)
    python = folder / "python"
    # As the real one: isolated, with the modules among the system's packages.
    python.write_text(
        dedent(f"""\
        #!{sys.executable} -I
        import runpy, sys
        sys.path.append({str(modules)!r})
        assert sys.argv[1] == "-I", sys.argv
        if sys.argv[2] == "-c":
            exec(sys.argv[3])
        else:
            sys.argv = sys.argv[2:]
            runpy.run_path(sys.argv[0], run_name="__main__")
        """)
    )
    python.chmod(0o755)
    return python
