"""The child process of a conversion: ``python -m converters.worker LOG`` takes jobs on stdin and answers on stdout.

What frameworks print, from Python and from native code, goes to LOG: the file descriptors themselves are redirected.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from converters.backends.interface import SourceFacts, SourceModel
from converters.jobs import (
    JOBS,
    Answer,
    Calibrate,
    CompareLayers,
    CountPartitions,
    Done,
    ExportFloat,
    Finish,
    Job,
    MeasureFits,
    MeasureSensitivity,
    OpenSource,
    Quantise,
    ReadSignatures,
    RunModel,
    RunSource,
    Tidy,
    TimeModels,
)
from device_runtime.contract.decode import decode, encode
from device_runtime.contract.events import Event, Events
from device_runtime.contract.reported import report_of
from device_runtime.errors import EdgeError

_HANDLERS = {
    ReadSignatures: "converters.backends.saved_model_graph:read_signatures",
    Tidy: "converters.tidy:tidy",
    Calibrate: "converters.ranges:calibrate",
    Quantise: "converters.quantise:quantise",
    Finish: "converters.finish:finish",
    RunModel: "converters.model_runs:run_model",
    TimeModels: "converters.timing:time_models",
    MeasureSensitivity: "converters.sensitivity:measure_sensitivity",
    CountPartitions: "converters.partition_runs:answer_partitions",
    CompareLayers: "converters.layer_runs:compare_layers",
}
"""What does the jobs that need no source: functions of a job and of who hears of its progress.

Each is imported when its job comes: an engine must not meet TensorFlow, and nobody waits for what others need.
"""


class Session:
    """Does jobs one after the other, and keeps the source model loaded between them."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._source: SourceModel | None = None

    def do(self, job: Job) -> Answer:
        """Do one job. Raises EdgeError, or whatever the framework raises."""
        if isinstance(job, OpenSource):
            return self._open(job)
        if isinstance(job, RunSource):
            from converters.source_runs import run_source  # noqa: PLC0415 - as the handlers

            return run_source(self._opened(), job, self._events)
        if isinstance(job, MeasureFits):
            from converters.training_fit import measure_fits  # noqa: PLC0415 - as the handlers

            return measure_fits(self._opened(), job, self._events)
        if isinstance(job, ExportFloat):
            self._opened().export(Path(job.target), job.plan)
            return Done()
        module, _, name = _HANDLERS[type(job)].partition(":")
        answer: Answer = getattr(importlib.import_module(module), name)(job, self._events)
        return answer

    def _open(self, job: OpenSource) -> SourceFacts:
        from converters.registry import load_opener  # noqa: PLC0415 - the framework is imported by its backend

        self._source = load_opener(job.backend)(Path(job.source), job.options)
        return self._source.facts()

    def _opened(self) -> SourceModel:
        if self._source is None:
            raise RuntimeError("expected a job that opens a source first")
        return self._source


def main(arguments: list[str]) -> None:
    """Serve jobs until stdin ends."""
    answers = _redirect(Path(arguments[0]))
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()

    def tell(event: Event) -> None:
        _send(answers, {"event": {"kind": type(event).__name__, **encode(event)}})

    session = Session(tell)
    while True:
        _send(answers, _answer(session.do, jobs.get()))


def _answer(do: Callable[[Job], Any], line: str) -> dict[str, Any]:
    request = json.loads(line)
    try:
        return {"result": encode(do(decode(JOBS[request["job"]], request["arguments"], "job")))}
    except EdgeError as error:
        return {"error": encode(report_of(error))}
    except MemoryError:
        return {"failure": "it needs more memory than there is"}
    except Exception as error:  # noqa: BLE001 - frameworks raise anything; the log has the trace, the parent the words
        traceback.print_exc()
        sys.stderr.flush()
        return {"failure": f"{type(error).__name__}: {error}"}


def _read_jobs(jobs: queue.SimpleQueue[str]) -> None:
    """Pass jobs on; when stdin ends, the parent is done or dead, and so is this process, whatever it is doing."""
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)


def _redirect(log: Path) -> TextIO:
    """Point stdout and stderr, for native code too, to the log; return what stdout was."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    return answers


def _send(stream: TextIO, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
