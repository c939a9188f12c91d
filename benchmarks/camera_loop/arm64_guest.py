"""Count instructions per frame inside an emulated arm64 machine, as its first and only process.

QEMU lets one nanosecond of the machine's time pass with each instruction (-icount shift=0), so that its clocks count
instructions, those of the kernel on the process's behalf among them.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENTRIES = Path("/bench/entries.json")
SAID = "counted: "
"""What the line with the answer begins with; the console carries the kernel's messages, too."""

_WARM_UP, _FRAMES = 2, 6
"""Medians are taken: now and then the kernel has work of its own in between (10 million instructions were seen)."""
_POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF of linux/reboot.h


def main() -> None:
    """Mount what libraries look at, count, print the answer, and switch the machine off."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        for folder, kind in (("/proc", b"proc"), ("/sys", b"sysfs"), ("/dev", b"devtmpfs")):
            Path(folder).mkdir(exist_ok=True)
            libc.mount(kind, folder.encode(), kind, 0, None)
        entries = json.loads(ENTRIES.read_text(encoding="utf-8"))
        answer = {name: counts(options) for name, options in entries.items()}
        print(f"\n{SAID}{json.dumps(answer)}", flush=True)
    except BaseException:  # noqa: BLE001 - the first process must not end before the machine does
        traceback.print_exc()
    sys.stdout.flush()
    libc.reboot(_POWER_OFF)


def counts(options: dict[str, Any]) -> dict[str, float]:
    """Return instructions per frame by what is done; see ``Bench.options`` for the options."""
    from camera_loop.bounds import InvokeOnly  # noqa: PLC0415 - nothing is mounted before
    from camera_loop.naive import Cv2Loop, PilLoop  # noqa: PLC0415

    ways: tuple[Callable[[], dict[str, float]], ...] = (
        lambda: {"alone": _each(InvokeOnly(options).once)},
        lambda: _stages(options),
        lambda: {"loop": _whole_loop(options)},
        lambda: {"naive cv2": _each(Cv2Loop(options).once)},
        lambda: {"naive pil": _each(PilLoop(options).once)},
    )
    found: dict[str, float] = {}
    for way in ways:
        found |= _apart(way)
    return found


def _apart(count: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Count in a process of its own, so that nothing depends on what was counted before."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(count()).encode())
        except BaseException:  # noqa: BLE001 - it must not go on as the first process
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    found: dict[str, float] = json.loads(text)
    return found


def _each(once: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        once()
    gc.collect()
    counted = []
    for _ in range(_FRAMES):
        started = time.perf_counter_ns()
        once()
        counted.append(time.perf_counter_ns() - started)
    return statistics.median(counted)


def _stages(options: dict[str, Any]) -> dict[str, float]:
    """Count our own stages, one frame after the other in one thread; a prediction tells what its stages took."""
    from camera_loop.bounds import predictor_of  # noqa: PLC0415
    from device_runtime.cameras.sources import Repeating  # noqa: PLC0415

    predictor, camera = predictor_of(options), Repeating(options["source"])
    counted: dict[str, list[float]] = {"read": [], "prepare": [], "invoke": [], "decode": [], "total": []}
    for number in range(_WARM_UP + _FRAMES):
        if number == _WARM_UP:
            gc.collect()
        started = time.perf_counter_ns()
        frame = camera.read()
        read = time.perf_counter_ns()
        if frame is None:
            raise EOFError(options["source"])
        prediction = predictor.predict(frame)
        counted["total"].append(time.perf_counter_ns() - started)
        counted["read"].append(read - started)
        for stage in ("prepare", "invoke", "decode"):
            counted[stage].append(prediction.timings_ms[stage] * 1e6)
    camera.close()
    return {name: statistics.median(values[_WARM_UP:]) for name, values in counted.items()}


def _whole_loop(options: dict[str, Any]) -> float:
    """Count the loop with its threads and one worker: a long run less a short one, by the process's own clock."""
    from camera_loop.bounds import predictor_of  # noqa: PLC0415
    from device_runtime.cameras.sources import Repeating  # noqa: PLC0415
    from device_runtime.loop.capture import CaptureSetup  # noqa: PLC0415
    from device_runtime.loop.run import Limits, LoopSetup, run_loop  # noqa: PLC0415

    predictor = predictor_of(options)

    def run(frames: int) -> int:
        camera = Repeating(options["source"])
        ahead = predictor.ahead(live=camera.live, workers=1)
        gc.collect()
        started = time.process_time_ns()
        run_loop(camera, predictor.infer, [], LoopSetup(Limits(frames=frames), capture=CaptureSetup(None, ahead)))
        return time.process_time_ns() - started

    run(_WARM_UP)
    return (run(_WARM_UP + _FRAMES) - run(_WARM_UP)) / _FRAMES


if __name__ == "__main__":
    main()
