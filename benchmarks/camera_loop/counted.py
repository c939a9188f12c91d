"""Instructions per frame, counted by valgrind: the same on a busy machine, and comparable between versions.

python -m camera_loop.counted MODULE:CLASS OPTIONS.json COUNT does something COUNT times.

They are no time: caches, the width of vectors and the clock do not count. valgrind has no AVX-512, so that on machines
with it the model's kernels are others than in the rows that are timed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from camera_loop.child import make
from camera_loop.race import Absent, environment

_FEW, _MANY = 2, 6


def instructions(entries: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, float]:
    """Return the instructions that one more time takes, by entry. Raises Absent when there is no valgrind."""
    jobs = [(what, options, count) for what, options in entries.values() for count in (_FEW, _MANY)]
    # As many at a time as there are cores: nothing here depends on time.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = list(pool.map(_collected, jobs))
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return {name: (many - few) / (_MANY - _FEW) for name, (few, many) in zip(entries, pairs, strict=True)}


def _collected(job: tuple[str, dict[str, Any], int]) -> int:
    what, options, count = job
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise Absent("no valgrind: apt install valgrind")
    words = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-m"]
    command = [*words, "camera_loop.counted", what, json.dumps(options), str(count)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"{what}: {done.stderr.strip()[-300:]}")
    return int(found[1])


def main() -> None:
    """Do it so many times."""
    contestant = make(sys.argv[1], json.loads(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        contestant.once()


if __name__ == "__main__":
    main()
