"""The camera loop beside its peers: what it reaches, what they reach, and what the model alone allows.

python benchmarks/loop.py [--only ROW ...] [--quick] [--shared FOLDER]

Peers are measured where their environment is (make bench-peers), and left out where it is not. The models and clips
are made on the first run and kept in out/benchmarks; ``--shared`` holds third-party photos and weights to make them of.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from camera_loop.materials import Materials
from camera_loop.rows import ROWS, Bench
from camera_loop.table import machine, shown

from device_runtime.errors import EdgeError


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(ROWS), action="append", help="a row; several are allowed")
    parser.add_argument("--quick", action="store_true", help="three short rounds, for a first look")
    parser.add_argument("--shared", type=Path, default=os.environ.get("EDGEKIT_SHARED_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "out/benchmarks")
    options = parser.parse_args()
    materials = Materials(options.out, Path(options.shared))
    try:
        materials.make()
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(machine(), flush=True)
    bench = Bench(materials, 3 if options.quick else 7, 0.7 if options.quick else 1.5)
    started = time.perf_counter()
    for name in options.only or ROWS:
        title, row = ROWS[name]
        print(shown(title, row(bench)), flush=True)
    print(f"\nmeasured in {time.perf_counter() - started:.0f} s; {machine().splitlines()[0]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
