"""The runs that a project keeps: one JSON file each, in the folder ``bench`` beside ``edgekit.toml``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import dumps
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import Replacement, refused, write_text
from edgekit.benching.compare import disturbances, read_report

FOLDER = "bench"
LAST = "last"
"""The word for the newest saved run of the same kind."""

_STAMPED = re.compile(r"\d{8}-\d{6}-")
"""How the names of runs begin that were saved without a name of their own: date and time in UTC."""


@dataclass(frozen=True)
class Kind:
    """What two runs must have in common to be of one history. A model is known by its name: its digest may change."""

    model: str
    target: str | None
    engine: str
    threads: int

    def __str__(self) -> str:
        where = self.target or "this machine"
        return f"{self.model} on {where} with {self.engine}, threads {self.threads}"


@dataclass(frozen=True)
class SavedRun:
    """A run and its file."""

    path: Path
    report: BenchReport


@dataclass(frozen=True)
class History:
    """The saved runs of a project; ``folder`` may not exist yet."""

    folder: Path

    def save(self, report: BenchReport, name: str | None = None) -> Path:
        """Write a run, whole or not at all, and return its file.

        Args:
            report: the run.
            name: a name of its own, as ``baseline``; a run that had it is replaced. Without one the file is called
                after the time, the model and the target, and nothing is replaced.

        Raises:
            EdgeError: the folder cannot be made, or the file not be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise refused(error, self.folder, "make") from error
        path = self.path_of(name) if name else self._free_path(report)
        write_text(path, dumps(report))
        return path

    def check(self, name: str) -> None:
        """Tell whether a run could be saved under this name, or without one: before it is measured.

        Raises:
            UsageError: the name is none.
            EdgeError: nothing can be written there.
        """
        if name:
            self.path_of(name)
        Replacement((self.folder if self.folder.is_dir() else self.folder.parent) / "run.json").discard()

    def path_of(self, name: str, option: str = "--save") -> Path:
        """Return the file of a named run. Raises UsageError, which names ``option``, for a name that is none."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", name) or name == LAST:
            raise UsageError(
                f"{option}: expected a name of letters, digits, '.', '_' and '-', and not {LAST!r}, got {name!r}",
                hint=f"{option} baseline",
            )
        return self.folder / f"{name.removesuffix('.json')}.json"

    def runs(self) -> list[SavedRun]:
        """Return all runs, the oldest first. A file that is no run is left out.

        Raises:
            EdgeError: the folder, or a file in it, cannot be read.
        """
        found = [run for path in self._files() if (run := _read(path))]
        return sorted(found, key=lambda run: (run.report.created, run.path.name))

    def has_any(self) -> bool:
        """Tell whether anything was saved."""
        return bool(self._files())

    def last(self, kind: Kind) -> SavedRun | None:
        """Return the newest run of a kind: an undisturbed one if there is one. None when there is none at all.

        Raises:
            EdgeError: the folder, or a file in it, cannot be read.
        """
        files = self._files()
        stamped = [path for path in files if _STAMPED.match(path.name) and _slug(kind.model) in path.name]
        named = [path for path in files if not _STAMPED.match(path.name)]
        found = [run for path in named if (run := _read(path)) and kind_of(run.report) == kind]
        # Names begin with the time: the newest are read until one will do, and a long history costs no more.
        for path in reversed(stamped):
            run = _read(path)
            if run and kind_of(run.report) == kind:
                found.append(run)
                if not disturbances(run.report):
                    break
        quiet = [run for run in found if not disturbances(run.report)]
        return max(quiet or found, key=lambda run: (run.report.created, run.path.name), default=None)

    def _files(self) -> list[Path]:
        try:
            return sorted(self.folder.glob("*.json"))
        except OSError as error:
            raise refused(error, self.folder, "read") from error

    def _free_path(self, report: BenchReport) -> Path:
        moment = re.sub(r"[-:]", "", report.created)[:15].replace("T", "-")
        where = f"-{_slug(report.target)}" if report.target else ""
        stem = f"{moment}-{_slug(report.model.name)}{where}"
        number, path = 1, self.folder / f"{stem}.json"
        while path.exists():
            number += 1
            path = self.folder / f"{stem}-{number}.json"
        return path


@dataclass(frozen=True)
class Baseline:
    """What runs are compared with: always the same one, or the newest of their own kind in a history."""

    report: BenchReport | None = None
    history: History | None = None

    def of(self, report: BenchReport) -> BenchReport | None:
        """Return what this run is compared with; None where the history has none of its kind.

        Raises:
            EdgeError: the history cannot be read.
        """
        if self.report or self.history is None:
            return self.report
        found = self.history.last(kind_of(report))
        return found.report if found else None


def find_baseline(word: str, history: History | None) -> Baseline:
    """Return what ``--compare WORD`` means: a file, a name in the history, or its newest runs (``last``).

    Raises:
        UsageError: the history is empty, or there is no project to have one.
        BadFileError: there is no such run, or the file is none.
        EdgeError: it cannot be read.
    """
    if word == LAST:
        if history is None or not history.has_any():
            where = (
                f"no saved run in {history.folder}" if history else "no edgekit.toml here or above, so no saved runs"
            )
            raise UsageError(
                f"--compare last: {where}", hint="save one: edgekit bench --save\nor name a file: --compare run.json"
            )
        return Baseline(history=history)
    path = Path(word)
    if not is_path(word) and history and not path.exists():
        path = history.path_of(word, "--compare")
    if not path.exists():
        raise BadFileError(f"--compare: no saved run {path}", hint="save one: edgekit bench --save")
    return Baseline(read_report(path))


def is_path(word: str) -> bool:
    """Tell whether a word for a run is a path, and not a name in the history."""
    return "/" in word or word.endswith(".json")


def kind_of(report: BenchReport) -> Kind:
    """Return what a run must have in common with others to be compared with them."""
    return Kind(report.model.name, report.target, report.engine.name, report.engine.threads)


def _read(path: Path) -> SavedRun | None:
    try:
        return SavedRun(path, read_report(path))
    except BadFileError:
        return None


def file_word(text: str, otherwise: str) -> str:
    """Return a text as a part of a file's name; ``otherwise`` where nothing of it can be in one."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.") or otherwise


def _slug(text: str) -> str:
    return file_word(text, "run")[:80]
