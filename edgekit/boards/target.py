"""Where a board is: ``local:DIR``, over SSH, or a name from ``[targets]`` of edgekit.toml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.decode import suggestion
from device_runtime.errors import UsageError
from edgekit.boards.ssh import FORM, SshTarget, is_ssh, parse_ssh
from edgekit.project.config import Project

_FORMS = "local:DIR, or a name from [targets] in edgekit.toml"
_PLACES = f"{FORM}, {_FORMS}"


@dataclass(frozen=True)
class LocalTarget:
    """A folder on this machine that serves as a board; ``name`` is what the user called it."""

    root: Path
    name: str

    def __str__(self) -> str:
        return self.name


def find_place(text: str | None, project: Project | None) -> LocalTarget | SshTarget:
    """Return the folder or the board that a word means; without a word, the project's only one.

    Args:
        text: what the user wrote. A relative folder is relative to the current one.
        project: where names come from; there, a relative folder is relative to the file.

    Raises:
        UsageError: there is no such target, or none was named and the project has not exactly one.
    """
    named = _look_up(text, project)
    if is_ssh(named.text):
        return parse_ssh(named.text, named.name, named.where)
    scheme, _, rest = named.text.partition(":")
    if scheme != "local" or not rest:
        raise UsageError(
            f"{named.where}: expected {_PLACES}, got {named.text!r}", hint="for example: ssh://pi@board.local"
        )
    return LocalTarget(named.base / Path(rest).expanduser(), named.name)


def find_places(
    words: Sequence[str], project: Project | None, *, everything: bool = False
) -> tuple[LocalTarget | SshTarget, ...]:
    """Return what some words mean, each once; with ``everything``, all targets of the project.

    Raises:
        UsageError: as ``find_place``; or the project has no targets.
    """
    if everything:
        words = list(project.file.targets) if project else []
        if not words:
            raise UsageError(
                "--all: there are no [targets]", hint='add them to edgekit.toml: line = "ssh://pi@board.local"'
            )
    found = [find_place(word, project) for word in dict.fromkeys(words)] or [find_place(None, project)]
    return tuple(found)


@dataclass(frozen=True)
class _Named:
    """A target as it was written, and where: ``base`` is what a relative folder is relative to."""

    text: str
    name: str
    base: Path
    where: str


def _look_up(text: str | None, project: Project | None) -> _Named:
    targets = project.file.targets if project else {}
    if text is None:
        if len(targets) != 1:
            had = f"{project.path} has {len(targets)}: {', '.join(targets)}" if project and targets else "there is none"
            raise UsageError(f"no target was named, and {had}", hint=f"name one: {_FORMS}")
        text = next(iter(targets))
    if text in targets and project is not None:
        return _Named(targets[text], text, project.folder, f"{project.path}: targets: {text}")
    if ":" not in text and "@" not in text and targets:
        raise UsageError(f'no target "{text}"', hint=suggestion(text, targets))
    return _Named(text, text, Path.cwd(), "target")
