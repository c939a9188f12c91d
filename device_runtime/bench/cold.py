"""Cold starts: new processes of this runtime, each timed from just before its start to its first prediction."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from device_runtime.bench.first import FirstPrediction, FirstRequest
from device_runtime.child import end_child, how_it_ended, last_lines, own_environment
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.reported import error_in
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.install.launch import release_command

FIRST = ("bench", "--first", "--json")
"""The words with which this runtime makes one prediction, of what its stdin says, and tells when that was."""


class ColdStartCrashError(EdgeError):
    """A process that was to make a first prediction died, or answered something else."""

    code = "bench-crashed"


def measure_cold_starts(
    request: FirstRequest, count: int = 1, command: Sequence[str] | None = None
) -> tuple[float, ...]:
    """Start so many processes one after the other; return the time from each one's start to its prediction, in ms.

    They are of this Python and this runtime, with this process's environment.

    Args:
        request: what each of them runs.
        count: how many.
        command: what starts such a process.

    Raises:
        ColdStartCrashError: one died.
        EdgeError: what one of them reported, with its own codes.
    """
    question = dumps(request).encode()
    words = list(command or release_command(FIRST))
    return tuple(_first_prediction_ms(words, question) for _ in range(count))


def _first_prediction_ms(words: list[str], question: bytes) -> float:
    started = time.monotonic_ns()
    child = subprocess.Popen(  # the words are a list, no shell reads them
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own_environment()
    )
    try:
        answer, log = (stream.decode("utf-8", "replace") for stream in child.communicate(question))
    finally:
        end_child(child)
    if child.returncode != 0:
        raise error_in(answer) or _crash(f"ended {how_it_ended(child.returncode)} and without a prediction", log)
    try:
        return (loads(FirstPrediction, answer, "first prediction").at_ns - started) / 1e6
    except BadFileError as error:
        raise _crash(f"told no first prediction: {error}", log) from error


def _crash(what: str, log: str) -> ColdStartCrashError:
    return ColdStartCrashError(f"a cold start's process {what}{last_lines(log)}")
