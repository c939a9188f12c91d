"""What a long job tells while it runs. Logic reports events; a terminal, a log or a remote host subscribes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Optional, Union


@dataclass(frozen=True)
class Step:
    """A new stage of the job begins; ``title`` is an imperative phrase ("convert to float32")."""

    title: str


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` ``unit`` of the current step are finished; ``total`` is None when it is not known."""

    done: int
    total: Optional[int]
    unit: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know. A ``warning`` tells of a result that may not be what was wanted."""

    message: str
    severity: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class LogLine:
    """A line of an application's log, as it was written."""

    text: str


Event = Union[Step, Progress, Notice, LogLine]
Events = Callable[[Event], None]


def silent(event: Event) -> None:
    """Ignore an event: the subscriber for those who want none."""
    del event
