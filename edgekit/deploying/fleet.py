"""One job for several boards at once: each comes to its own end, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from device_runtime.contract.events import Event, Events, Notice, Progress, Step
from device_runtime.contract.reported import ReportedError, report_of
from device_runtime.errors import EdgeError, Interrupted
from edgekit.boards.channel import Stopper
from edgekit.boards.ssh import SshTarget
from edgekit.boards.target import LocalTarget

T = TypeVar("T")
Job = Callable[[LocalTarget | SshTarget, Events, Stopper], T]


@dataclass(frozen=True)
class BoardOutcome(Generic[T]):
    """What came of a board: what the job gave, or the error that ended it."""

    target: str
    exit_code: int
    done: T | None = None
    error: ReportedError | None = None


GO_ON = "boards that had begun to install go on by themselves"


def for_each(
    places: Sequence[LocalTarget | SshTarget], job: Job[T], events: Events, *, parallel: int, stopped: str = GO_ON
) -> tuple[BoardOutcome[T], ...]:
    """Run a job for each board, at most ``parallel`` at a time; the outcomes are in the order of the boards.

    Their steps are reported with the board's name before them. ``stopped`` says what becomes of boards on Ctrl-C.

    Raises:
        Interrupted: Ctrl-C, which stops all of them.
    """
    stopper, lock = Stopper(), threading.Lock()

    def one(place: LocalTarget | SshTarget) -> BoardOutcome[T]:
        try:
            return BoardOutcome(str(place), 0, job(place, _named(str(place), events, lock), stopper))
        except EdgeError as error:
            return BoardOutcome(str(place), error.exit_code, error=report_of(error))

    with ThreadPoolExecutor(parallel, thread_name_prefix="board") as threads:
        try:
            started = [threads.submit(one, place) for place in places]
            wait(started)
        except (KeyboardInterrupt, Interrupted) as stop:
            threads.shutdown(wait=False, cancel_futures=True)
            stopper.stop()
            raise Interrupted(
                f"interrupted; {stopped}",
                hint="ask them: edgekit status NAME",
            ) from stop
        return tuple(each.result() for each in started)


def worst(outcomes: Sequence[BoardOutcome[T]]) -> int:
    """Return the exit code for all of them: the highest."""
    return max((outcome.exit_code for outcome in outcomes), default=0)


def _named(name: str, events: Events, lock: threading.Lock) -> Events:
    """Return a subscriber that says of which board it speaks. Progress of several would only flicker."""

    def tell(event: Event) -> None:
        if isinstance(event, Progress):
            return
        with lock:
            if isinstance(event, Step):
                events(Step(f"{name}: {event.title}"))
            elif isinstance(event, Notice):
                events(Notice(f"{name}: {event.message}", event.severity))
            else:
                events(event)

    return tell
