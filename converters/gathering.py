"""Goes through files in a random order, and takes samples until there are enough: memory holds one at a time."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_runtime.contract.events import Events, Progress
from device_runtime.errors import BadFileError


class Outcome(enum.Enum):
    """What became of a file."""

    TAKEN = "taken"
    REPEATED = "repeated"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Choice:
    """How many files are wanted, and the seed that says which: equal seeds choose equal files."""

    count: int
    seed: int


@dataclass(frozen=True)
class Gathered:
    """The names of the files that were taken, in their order, and of those that could not be read."""

    names: tuple[str, ...]
    skipped: tuple[str, ...]


def gather(
    where: str, files: Sequence[tuple[str, Path]], choice: Choice, take: Callable[[str, Path], Outcome], events: Events
) -> Gathered:
    """Offer files to ``take`` until it has taken enough of them.

    Args:
        where: the folder, for messages.
        files: names and paths, 1 or more.
        choice: how many, and which.
        take: reads one file and keeps its sample.
        events: hears of progress.

    Raises:
        BadFileError: none can be read.
    """
    names: list[str] = []
    skipped: list[str] = []
    total = min(choice.count, len(files))
    for index in np.random.default_rng(choice.seed).permutation(len(files)):
        if len(names) == choice.count:
            break
        name, path = files[index]
        outcome = take(name, path)
        if outcome is Outcome.UNREADABLE:
            skipped.append(name)
        elif outcome is Outcome.TAKEN:
            names.append(name)
            events(Progress(len(names), total, "samples"))
    if not names:
        raise BadFileError(
            f"{where}: none of its {len(files)} samples can be read",
            hint="see the warnings above, and choose another folder",
        )
    return Gathered(tuple(names), tuple(sorted(skipped)))
