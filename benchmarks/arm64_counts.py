"""The camera loop's instructions per frame on arm64, without a board: a whole emulated machine counts them.

python benchmarks/arm64_counts.py [--cpu cortex-a72 ...] [--shared FOLDER]

They are no time: caches and the width of vectors do not count. They are the same in every run, and comparable between
versions. The machine is made on the first run, and kept in the user's cache; models and clips are those of loop.py.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from camera_loop import arm64_machine
from camera_loop.materials import Materials
from camera_loop.rows import Bench
from camera_loop.table import Line, shown

from device_runtime.errors import EdgeError

_CPUS = {"cortex-a72": "Raspberry Pi 4", "cortex-a76": "Raspberry Pi 5, with dot products of bytes"}
_CASES = (("mnv2", "480p.mp4"), ("mnv2", "1080p.avi"), ("det320", "480p.mp4"))
_OURS = {"read": "read", "prepare": "prepare", "invoke": "the model", "decode": "decode the answer"}


def main() -> int:
    """Print a table for each CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", choices=list(_CPUS), action="append", help="a CPU; several are allowed, default: all")
    parser.add_argument("--shared", type=Path, default=os.environ.get("EDGEKIT_SHARED_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "out/benchmarks")
    options = parser.parse_args()
    materials = Materials(options.out, Path(options.shared))
    try:
        materials.make()
        bench = Bench(materials, rounds=0, seconds=0)
        entries = {f"{model} {clip}": bench.options(model, clip) for model, clip in _CASES}
        for cpu in options.cpu or _CPUS:
            for name, counts in arm64_machine.run(cpu, entries).items():
                title = f"{name} on {cpu} ({_CPUS[cpu]}): millions of instructions per frame"
                print(shown(title, _lines(counts)), flush=True)
    except EdgeError as error:
        print(f"error: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)
        return error.exit_code
    return 0


def _lines(counts: dict[str, float]) -> Iterator[Line]:
    yield Line("the model alone", _millions(counts["alone"]))
    for stage, name in _OURS.items():
        yield Line(f"ours: {name}", _millions(counts[stage]))
    yield Line("ours, one stage after the other", _millions(counts["total"]))
    yield Line("ours, the loop with its threads", _millions(counts["loop"]))
    ours = counts["loop"] - counts["alone"]
    yield Line("ours, around the model", _millions(ours))
    for key, name in (("naive cv2", "naive cv2 loop"), ("naive pil", "naive PIL loop")):
        around = counts[key] - counts["alone"]
        yield Line(name, _millions(counts[key]))
        yield Line(f"{name}, around the model", _millions(around), f"{around / ours:.1f}× ours")


def _millions(count: float) -> str:
    return f"{count / 1e6:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
