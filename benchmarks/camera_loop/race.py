"""Run contestants in turns, each in its own process, and compare them round by round."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
PEERS = HERE.parent / ".venv-peers"

_WARM_UP_S = 0.7
_DISTURBED = 0.08
"""A round in which others took more than this share of the cores is run again."""


@dataclass(frozen=True)
class Entry:
    """A contestant: ``what`` is MODULE:CLASS of this package, ``options`` are given to it."""

    what: str
    options: dict[str, Any] = field(default_factory=dict)
    peer: bool = False
    """Whether it runs in the peers' environment."""


@dataclass(frozen=True)
class Turn:
    """One turn of a contestant; CPU time is that of all its threads, memory that of its process at the turn's end.

    ``others`` is the share (0–1) of all cores that other processes took meanwhile.
    """

    count: int
    seconds: float
    cpu_s: float
    rss_mb: float
    peak_mb: float
    others: float
    more: Mapping[str, float]

    @property
    def rate(self) -> float:
        """What was done per second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU per item, ms."""
        return self.cpu_s * 1e3 / self.count


class Absent(Exception):  # noqa: N818 - no failure: the contestant is not installed
    """A contestant is not installed here."""


class ContestantError(Exception):
    """A contestant failed."""


def peers_python() -> Path | None:
    """Return the Python of the peers' environment, or None where there is none."""
    python = Path(os.environ.get("EDGEKIT_PEERS", str(PEERS))) / "bin/python"
    return python if python.exists() else None


def busy_s() -> float:
    """Return the seconds that all cores together were busy since the machine started (Linux)."""
    user, nice, system, _, _, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def python_of(entry: Entry) -> str:
    """Return the Python that runs an entry. Raises Absent."""
    if not entry.peer:
        return sys.executable
    python = peers_python()
    if python is None:
        raise Absent("no peers' environment: make bench-peers")
    return str(python)


def environment(threads: int = 1) -> dict[str, str]:
    """Return the environment of measured processes: libraries' pools as large as the model's, and little said."""
    return {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "OMP_NUM_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "GLOG_minloglevel": "3",
        "YOLO_OFFLINE": "true",
        "YOLO_CONFIG_DIR": str(HERE.parent / "out/benchmarks/ultralytics"),
    }


class Child:
    """One contestant's process."""

    def __init__(self, entry: Entry, log: Path) -> None:
        """Start it. Raises Absent when what it needs is not installed."""
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [python_of(entry), "-m", "camera_loop.child", entry.what, json.dumps(entry.options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                text=True,
            )
        first = self._answer()
        if "absent" in first:
            self.close()
            raise Absent(first["absent"])
        self.affinity: list[int] = first["ready"]

    def turn(self, seconds: float) -> Turn:
        """Run it once."""
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        busy, started = busy_s(), time.perf_counter()
        self._process.stdin.write(json.dumps({"seconds": seconds}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        busy, wall = busy_s() - busy, time.perf_counter() - started
        known = {name: answer.pop(name) for name in ("count", "seconds", "cpu_s", "rss_mb", "peak_mb")}
        others = max(0.0, busy - known["cpu_s"]) / (wall * (os.cpu_count() or 1))
        return Turn(**known, others=others, more=answer)

    def close(self) -> None:
        """End it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise ContestantError(f"{said[-1] if said else 'it ended without a word'}; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Race:
    """The turns of contestants, in rounds; ``absent`` says why others did not run."""

    turns: dict[str, list[Turn]]
    absent: dict[str, str]

    def __contains__(self, name: str) -> bool:
        return name in self.turns

    def rate(self, name: str) -> float:
        """Return the median of what was done per second."""
        return statistics.median(turn.rate for turn in self.turns[name])

    def cpu_ms(self, name: str) -> float:
        """Return the median of CPU per item, ms."""
        return statistics.median(turn.cpu_ms for turn in self.turns[name])

    @property
    def others(self) -> float:
        """Return the largest share of the cores that other processes took in any turn."""
        return max((turn.others for turns in self.turns.values() for turn in turns), default=0.0)

    def more(self, name: str, key: str) -> float:
        """Return the median of what a contestant tells of itself."""
        return statistics.median(turn.more[key] for turn in self.turns[name])

    def faster(self, name: str, than: str) -> float:
        """Return the median over rounds of one's rate ÷ another's."""
        pairs = zip(self.turns[name], self.turns[than], strict=True)
        return statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)

    def cheaper(self, name: str, than: str) -> float:
        """Return the median over rounds of another's CPU per item ÷ one's."""
        pairs = zip(self.turns[name], self.turns[than], strict=True)
        return statistics.median(theirs.cpu_ms / ours.cpu_ms for ours, theirs in pairs)


@contextmanager
def children(entries: Mapping[str, Entry], logs: Path) -> Iterator[tuple[dict[str, Child], dict[str, str]]]:
    """Give the processes of the entries that can run, and why others cannot."""
    with ExitStack() as stack:
        running: dict[str, Child] = {}
        absent: dict[str, str] = {}
        for name, entry in entries.items():
            try:
                running[name] = Child(entry, logs / f"{entry.what.replace(':', '-')}.log")
                stack.callback(running[name].close)
            except Absent as error:
                absent[name] = str(error)
        yield running, absent


def race(entries: Mapping[str, Entry], logs: Path, rounds: int, seconds: float) -> Race:
    """Run all entries in every round, in an order drawn anew; a first round warms up and does not count.

    Rounds that other processes disturbed are run again, at most half as many as there were; the quietest ones count.
    """
    order = random.Random(0)  # noqa: S311 - no secret
    done: list[dict[str, Turn]] = []
    with children(entries, logs) as (running, absent):
        for name, child in list(running.items()):
            try:
                child.turn(min(seconds, _WARM_UP_S))
            except ContestantError as error:
                absent[name] = str(error)
                del running[name]
        while len(done) < rounds or (len(done) < 3 * rounds // 2 and sum(map(_quiet, done)) < rounds):
            names = order.sample(list(running), len(running))
            done.append({name: running[name].turn(seconds) for name in names})
    kept = sorted(done, key=_disturbed)[:rounds]
    return Race({name: [turns[name] for turns in kept] for name in running}, absent)


def single(entries: Mapping[str, Entry], logs: Path, seconds: float) -> Race:
    """Run each entry once in a fresh process, as long as told."""
    turns: dict[str, list[Turn]] = {}
    absent: dict[str, str] = {}
    for name, entry in entries.items():
        with children({name: entry}, logs) as (running, missing):
            absent |= missing
            turns |= {each: [child.turn(seconds)] for each, child in running.items()}
    return Race(turns, absent)


def _disturbed(turns: Mapping[str, Turn]) -> float:
    return max((turn.others for turn in turns.values()), default=0.0)


def _quiet(turns: Mapping[str, Turn]) -> bool:
    return _disturbed(turns) <= _DISTURBED
