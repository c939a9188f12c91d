"""From the start of a process to its first prediction: the usual script, and our command.

python -m camera_loop.startup MODEL CLIP LOW HIGH is the usual script.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from camera_loop.race import environment


def first_answers(commands: dict[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds from each command's start to its first line, in rounds; one before them fills the caches."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            seconds = first_answer(command)
            if number:
                taken[name].append(seconds)
    return taken


def first_answer(command: Sequence[str]) -> float:
    """Return the seconds until a command printed a line."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
    if not line:
        raise RuntimeError(f"{' '.join(command)}: expected a line, got none")
    return seconds


def ours(model: Path, clip: Path) -> list[str]:
    """Return our command."""
    words = ["run", "--model", str(model), "--source", f"file:{clip}", "--frames", "1", "--no-page"]
    return [sys.executable, "-m", "device_runtime", *words]


def usual(model: Path, clip: Path, low: float, high: float) -> list[str]:
    """Return the command of the usual script."""
    return [sys.executable, "-m", "camera_loop.startup", str(model), str(clip), str(low), str(high)]


def main() -> None:
    """Do what a tutorial's script does, and print its first answer."""
    import argparse  # noqa: F401, PLC0415 - what such scripts begin with

    import cv2  # noqa: F401, PLC0415
    import numpy as np  # noqa: F401, PLC0415
    from PIL import Image, ImageDraw, ImageFont  # noqa: F401, PLC0415

    from camera_loop.naive import Clip, Model, best_classes, resize_cv2, scaled  # noqa: PLC0415

    model, clip = Model(sys.argv[1], "litert"), Clip(sys.argv[2])
    frame = resize_cv2(clip.read(), (model.width, model.height))
    print(best_classes(model.run(scaled(frame, float(sys.argv[3]), float(sys.argv[4])))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
