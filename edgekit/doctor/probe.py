"""Does what a check asks for, in a process of its own: ``python -m edgekit.doctor.probe engine litert``."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from device_runtime.errors import EdgeError

MODEL = Path(__file__).with_name("probe.tflite")

_INPUT = ((1.0, 2.0, 3.0, 4.0),)
_ANSWER = ([10.5, -2.0], [80, 16])
"""What ``make_probe.py`` computes by hand."""

_VIDEO_FRAMES = 8
_SIZE = (64, 48)
_JPEG_TOLERANCE = 6
"""Grey levels by which an encoder may miss a plain colour."""

_VIDEO_TOLERANCE = 24


def engine(name: str) -> str:
    """Make an interpreter, run it, and compare its answer. Raises EdgeError when it is wrong."""
    from device_runtime.engine.litert import open_engine  # noqa: PLC0415 - each probe loads what it is about

    interpreter = open_engine(MODEL, name)
    interpreter.input_view()[...] = _INPUT
    interpreter.invoke()
    got = tuple(interpreter.output(index).ravel().tolist() for index in range(len(interpreter.outputs)))
    if got != _ANSWER:
        raise EdgeError(f"{name} {interpreter.version} answers {got}, not {_ANSWER}")
    with_delegate = f", operators run by {interpreter.delegate}" if interpreter.delegate != "none" else ""
    return f"{interpreter.version} runs a model and answers right{with_delegate}"


def video() -> str:
    """Write a few frames of MP4 and read them again. Raises EdgeError when frames are missing or wrong."""
    import cv2  # noqa: PLC0415

    from device_runtime.cameras.video import VideoFile  # noqa: PLC0415
    from device_runtime.contract.model import Colour  # noqa: PLC0415
    from device_runtime.contract.prediction import Prediction  # noqa: PLC0415
    from device_runtime.sinks.video import AnnotatedVideo  # noqa: PLC0415
    from device_runtime.vision.frame import Frame  # noqa: PLC0415

    greys = [30 + 25 * index for index in range(_VIDEO_FRAMES)]
    with tempfile.TemporaryDirectory(prefix="edgekit-doctor-") as folder:
        path = Path(folder) / "probe.mp4"
        sink = AnnotatedVideo(path, 25.0)
        for index, grey in enumerate(greys):
            pixels = np.full((_SIZE[1], _SIZE[0], 3), grey, np.uint8)
            sink.take(Frame(pixels, Colour.BGR, 0, index, "probe", 0.0), Prediction(index, 0, ()))
        sink.close(failed=False)
        camera = VideoFile(path)
        seen = []
        while (frame := camera.read()) is not None:
            seen.append(round(float(frame.decoded().pixels.mean())))
        camera.close()
    wrong = [got for got, wanted in zip(seen, greys, strict=False) if abs(got - wanted) > _VIDEO_TOLERANCE]
    if len(seen) != len(greys) or wrong:
        raise EdgeError(f"wrote {len(greys)} frames of brightness {greys}, read {len(seen)} of {seen}")
    return f"OpenCV {cv2.__version__} writes and reads MP4"


def pictures() -> str:
    """Write a JPEG and a PNG and read them again. Raises EdgeError when they came out wrong."""
    import PIL  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    from device_runtime.vision.picture import read_picture  # noqa: PLC0415

    colour = (200, 120, 40)
    with tempfile.TemporaryDirectory(prefix="edgekit-doctor-") as folder:
        for suffix in ("jpg", "png"):
            path = Path(folder) / f"probe.{suffix}"
            Image.new("RGB", _SIZE, colour).save(path)
            got = [round(float(value)) for value in read_picture(path).pixels.mean(axis=(0, 1))]
            if max(abs(one - other) for one, other in zip(got, colour, strict=True)) > _JPEG_TOLERANCE:
                raise EdgeError(f"wrote a {suffix.upper()} of colour {list(colour)}, read {got}")
    return f"Pillow {PIL.__version__} writes and reads JPEG and PNG"


PROBES: dict[str, Callable[..., str]] = {"engine": engine, "video": video, "pictures": pictures}


def main(arguments: list[str]) -> int:
    """Run one probe: its finding goes to stdout, a failure as JSON."""
    subject, *rest = arguments
    try:
        print(PROBES[subject](*rest))  # noqa: T201 - stdout is the answer to the parent process
    except EdgeError as error:
        print(json.dumps({"problem": str(error), "hint": error.hint}))  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
