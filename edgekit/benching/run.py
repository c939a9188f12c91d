"""Runs the bench harness in a process of its own, and brings its report or its error back."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_runtime.child import end_child, how_it_ended, last_lines
from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import loads
from device_runtime.contract.events import Events, Progress, Step, silent
from device_runtime.contract.prediction import STAGES
from device_runtime.contract.reported import error_in
from device_runtime.contract.service import check_source
from device_runtime.errors import BadFileError, EdgeError, UsageError

RUNTIME = (sys.executable, "-P", "-m", "device_runtime")
"""This Python's own runtime. ``-P``: a ``numpy.py`` in the user's folder is not the one that is meant."""

_POLL_S = 0.25
_BETWEEN_S = 2.0
_COLD_START_S = 1.0
_PROFILE_S = 3.0
"""Of a Raspberry Pi 4, roughly: starting Python and warming up, a cold start, profiling. Progress is by the clock."""


@dataclass(frozen=True)
class BenchCall:
    """What to measure; ``spec`` is the ModelSpec's file. The others are a ``BenchRequest``'s, ``runs`` None its own."""

    model: Path
    spec: Path
    source: str = "synthetic:pattern"
    duration_s: float = 10.0
    threads: int = 1
    engine: str = "auto"
    runs: int | None = None
    camera_fps: float | None = None
    operators: bool = False
    cold_starts: int = 0
    draw: bool = False
    delegate: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.duration_s < math.inf:  # also refuses NaN
            raise UsageError(f"duration: expected a number of seconds above 0, got {self.duration_s:g}")
        try:
            check_source(self.source)
        except ValueError as error:
            raise UsageError(str(error)) from error

    @property
    def expected_s(self) -> float:
        """How long it will take, roughly: measuring, what is before and after it, and starting Python now and then."""
        at_rate_s = self.duration_s + _BETWEEN_S if self.camera_fps else 0.0
        return (
            _BETWEEN_S
            + self.cold_starts * _COLD_START_S
            + self.duration_s
            + at_rate_s
            + (_PROFILE_S if self.operators else 0.0)
        )

    def options(self) -> list[str]:
        """Return the words for the runtime's ``bench`` that say what to measure, but not of which model."""
        named = {
            "--source": self.source,
            "--duration": f"{self.duration_s:g}",
            "--threads": self.threads,
            "--engine": self.engine,
            "--delegate": self.delegate,
            "--runs": self.runs,
            "--camera-fps": None if self.camera_fps is None else f"{self.camera_fps:g}",
            "--cold-starts": self.cold_starts or None,
        }
        words = [str(part) for pair in named.items() if pair[1] is not None for part in pair]
        return [*words, *(["--operators"] if self.operators else []), *(["--draw"] if self.draw else [])]

    def arguments(self) -> list[str]:
        """Return the runtime's arguments for it."""
        return ["bench", "--model", str(self.model), "--spec", str(self.spec), *self.options(), "--json"]


class BenchCrashError(EdgeError):
    """The measuring process died, or answered something that is no report."""

    code = "bench-crashed"


def measure(call: BenchCall, events: Events = silent, runtime: Sequence[str] = RUNTIME) -> BenchReport:
    """Measure a model in a process of its own, so that its peak memory and start-up are the runtime's alone.

    Args:
        call: what to measure.
        events: is told of the run, and roughly how far it is, by the clock.
        runtime: what starts the runtime; ``call.arguments()`` are appended.

    Raises:
        EdgeError: whatever the harness reports, with its own code, exit code and hint.
        BenchCrashError: the process died without a report.
    """
    events(Step(f"measure {call.model.name} on {call.source} for {call.duration_s:g} s"))
    child = subprocess.Popen(  # the arguments are a list, no shell reads them
        [*runtime, *call.arguments()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        answer, log = _collect(child, call, events)
    finally:
        end_child(child)
    if child.returncode == 0:
        return _report(answer, log)
    raise _error(answer, log, child.returncode)


def _collect(child: subprocess.Popen[bytes], call: BenchCall, events: Events) -> tuple[str, str]:
    """Read the process's two streams to their ends, telling how far it is meanwhile."""
    started = time.monotonic()
    while True:
        try:
            answer, log = child.communicate(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            expected = math.ceil(call.expected_s)
            events(Progress(min(int(time.monotonic() - started), expected), expected, "s"))
        else:
            return answer.decode("utf-8", "replace"), log.decode("utf-8", "replace")


def _report(answer: str, log: str) -> BenchReport:
    try:
        report = loads(BenchReport, answer, "bench report")
    except BadFileError as error:
        raise BenchCrashError(f"the harness answered no report: {error}{last_lines(log)}") from error
    missing = [stage for stage in STAGES if stage not in report.stages]
    if missing:
        raise BenchCrashError(f"the harness answered no report of stage {missing[0]}{last_lines(log)}")
    return report


def _error(answer: str, log: str, code: int) -> EdgeError:
    """Return the error that the harness reported, or say how it died."""
    return error_in(answer) or BenchCrashError(
        f"the measuring process ended {how_it_ended(code)} and without a report{last_lines(log)}", hint="edgekit doctor"
    )
