"""Hold one contestant in a process of its own, and run it when it is told to on standard input.

python -m camera_loop.child MODULE:CLASS OPTIONS.json

Standard library only until the contestant is imported: it runs in environments that hold nothing of this project.
A line ``{"seconds": 2}`` is answered with one line: what was counted, and what it took by this process's clocks.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, Protocol


class Contestant(Protocol):
    """Something that is measured. It is made with its options, as JSON has them."""

    def run(self, seconds: float) -> dict[str, Any]:
        """Work for about so long; ``count`` of the answer says how much was done, the rest is the contestant's own."""


class Repeated:
    """A contestant that does one thing again and again."""

    def once(self) -> object:
        """Do it once."""
        raise NotImplementedError

    def run(self, seconds: float) -> dict[str, Any]:
        """Do it for so long."""
        count, end, once = 0, time.perf_counter() + seconds, self.once
        while time.perf_counter() < end:
            once()
            count += 1
        return {"count": count}


def make(what: str, options: dict[str, Any]) -> Any:
    """Return the contestant MODULE:CLASS. Raises ImportError when what it needs is not installed."""
    module, _, name = what.partition(":")
    return getattr(importlib.import_module(f"camera_loop.{module}"), name)(options)


def memory_mb() -> tuple[float, float]:
    """Return what this process holds in memory, and the most that it ever held, MB of 1e6 bytes (Linux)."""
    found = {}
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib is not needed for one line
        for line in status:
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                found[name] = int(value.split()[0]) * 1024 / 1e6
    return found["VmRSS"], found["VmHWM"]


def measure(contestant: Contestant, seconds: float) -> dict[str, Any]:
    """Run the contestant once, and add what it took of wall clock, CPU (all threads) and memory."""
    cpu, started = time.process_time(), time.perf_counter()
    answer = contestant.run(seconds)
    answer.setdefault("seconds", time.perf_counter() - started)
    answer.setdefault("cpu_s", time.process_time() - cpu)
    answer["rss_mb"], answer["peak_mb"] = memory_mb()
    return answer


def main() -> None:
    """Serve until standard input ends."""
    # Whatever libraries print goes to stderr: standard output carries answers only.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        contestant = make(sys.argv[1], json.loads(sys.argv[2]))
    except ImportError as error:
        say({"absent": str(error)})
        return
    say({"ready": sorted(os.sched_getaffinity(0))})
    for line in sys.stdin:
        say(measure(contestant, json.loads(line)["seconds"]))


if __name__ == "__main__":
    main()
