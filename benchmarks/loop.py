"""How close the camera loop comes to the model alone: interleaved rounds, medians of ratios.

python benchmarks/loop.py MODEL.tflite [--source synthetic:belt] [--rounds 7] [--seconds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from device_runtime.cameras.sources import Repeating, open_camera
from device_runtime.contract.decode import read_json
from device_runtime.contract.model import ModelSpec
from device_runtime.loop.run import Limits, LoopSetup, run_loop
from device_runtime.predictor import Predictor


def invoke_only_fps(predictor: Predictor, seconds: float) -> float:
    """Invoke the model on one prepared input, as often as it goes."""
    started = time.perf_counter()
    count = 0
    while time.perf_counter() - started < seconds:
        predictor.engine.invoke()
        count += 1
    return count / (time.perf_counter() - started)


def sequential_fps(predictor: Predictor, source: str, seconds: float) -> float:
    """Read, prepare, invoke and decode one frame after the other, in one thread."""
    camera = Repeating(source)
    started = time.perf_counter()
    count = 0
    while time.perf_counter() - started < seconds:
        frame = camera.read()
        if frame is not None:
            predictor.predict(frame)
            count += 1
    camera.close()
    return count / (time.perf_counter() - started)


def loop_fps(predictor: Predictor, source: str, seconds: float) -> float:
    """Run the camera loop."""
    return run_loop(Repeating(source), predictor.predict, [], Limits(duration_s=seconds)).fps


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", default="synthetic:belt")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args()
    predictor = Predictor(options.model, read_json(ModelSpec, options.model.with_suffix(".json")), options.engine)
    camera = open_camera(options.source)
    first = camera.read()
    camera.close()
    if first is not None:
        predictor.predict(first)
    rows = []
    for _ in range(options.rounds):
        invoke = invoke_only_fps(predictor, options.seconds)
        sequential = sequential_fps(predictor, options.source, options.seconds)
        rows.append((invoke, sequential, loop_fps(predictor, options.source, options.seconds)))
    invoke, sequential, loop = (statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{options.model.name} on {options.source}, {predictor.engine.name} {predictor.engine.version}, 1 thread")
    print(f"invoke only   {invoke:8.1f} fps")
    print(
        f"sequential    {sequential:8.1f} fps   {statistics.median(row[1] / row[0] for row in rows):.2f} of invoke only"
    )
    print(f"camera loop   {loop:8.1f} fps   {statistics.median(row[2] / row[0] for row in rows):.2f} of invoke only")


if __name__ == "__main__":
    main()
