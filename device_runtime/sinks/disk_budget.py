"""Files of events in a folder that does not grow beyond its budget."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import re
from collections.abc import Sequence
from pathlib import Path

from device_runtime.contract.prediction import RuleEvent
from device_runtime.errors import EdgeError
from device_runtime.files import refused

# WHEN_RULE_ID as ``stem_of`` makes it: what carries such a name was made here, and nothing else is ever removed.
_STEM = r"\d{8}T\d{6}\.\d{3}Z_[A-Za-z0-9][A-Za-z0-9_.-]{0,63}_[0-9a-f]{12}-\d+"
# A temporary file of ``files.Replacement``: a dot, the name, and what ``tempfile.mkstemp`` adds.
_UNFINISHED = r"\.{stem}-[a-z0-9_]{{8}}"

MB = 1_000_000


def stem_of(event: RuleEvent) -> str:
    """Return the name, without suffix, of an event's files; sorted by name they are sorted by time."""
    when = dt.datetime.fromisoformat(event.at).astimezone(dt.UTC)
    return f"{when:%Y%m%dT%H%M%S}.{when.microsecond // 1000:03}Z_{event.rule}_{event.id}"


class DiskBudget:
    """A folder of event files. The oldest make room for new ones; files that others put there are left alone."""

    def __init__(self, folder: Path, budget_bytes: int, suffixes: Sequence[str]) -> None:
        """Make the folder if need be, and remove what a killed process left half-written.

        Args:
            folder: where the files lie.
            budget_bytes: how much they may take up.
            suffixes: which files of an event are counted here, with their dots.

        Raises:
            EdgeError: the folder cannot be made or written.
        """
        self.folder = folder
        self._budget_bytes = budget_bytes
        either = "|".join(re.escape(suffix) for suffix in suffixes)
        self._own = re.compile(f"({_STEM})({either})")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise refused(error, folder, "make") from error
        self._remove_unfinished(re.compile(_UNFINISHED.format(stem=_STEM) + f"({either})"))

    def make_room(self, needed_bytes: int) -> None:
        """Remove the oldest events' files until ``needed_bytes`` fit in.

        Raises:
            EdgeError: they never will, or a file cannot be removed.
        """
        if needed_bytes > self._budget_bytes:
            raise EdgeError(
                f"{self.folder}: expected at most {self._budget_bytes / MB:g} MB for one event, "
                f"got {needed_bytes / MB:.1f} MB",
                hint="raise budget_mb",
            )
        try:
            self._shrink_to(self._budget_bytes - needed_bytes)
        except OSError as error:
            raise refused(error, self.folder, "make room in") from error

    def close(self) -> None:
        """Let another process clean up."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _shrink_to(self, most_bytes: int) -> None:
        found: dict[str, list[os.DirEntry[str]]] = {}
        total = 0
        with os.scandir(self.folder) as entries:
            for entry in entries:
                name = self._own.fullmatch(entry.name)
                if name and entry.is_file(follow_symlinks=False):
                    found.setdefault(name[1], []).append(entry)
                    total += entry.stat(follow_symlinks=False).st_size
        for stem in sorted(found):
            if total <= most_bytes:
                break
            for entry in found[stem]:
                total -= entry.stat(follow_symlinks=False).st_size
                Path(entry.path).unlink(missing_ok=True)

    def _remove_unfinished(self, unfinished: re.Pattern[str]) -> None:
        """Remove temporary files, unless another process that uses the folder may be writing them."""
        with contextlib.suppress(OSError):  # a file system without locks: better a file too many
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in self.folder.iterdir():
                    if unfinished.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                        path.unlink()
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
