"""The one way to report errors: what, where, expected and got, and a hint that can be pasted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional


class EdgeError(Exception):
    """An error that a user can act on.

    ``str(error)`` is the message: lower case, no full stop. ``hint`` is what to do next, imperative, and where
    it is a command it can be pasted. ``code`` is stable and machine-readable; ``exit_code`` is the process's.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(EdgeError):
    """The command line asks for something that does not exist or does not fit together."""

    code = "usage"
    exit_code = 2


class BadFileError(EdgeError):
    """A file, its contents or a manifest are not what they should be."""

    code = "bad-file"
    exit_code = 3


class ModelError(BadFileError):
    """A model cannot be loaded or invoked, or it and its ModelSpec disagree."""

    code = "bad-model"


class CameraError(EdgeError):
    """A frame source is absent, cannot be opened, or stopped giving frames."""

    code = "camera"


class UnfitError(EdgeError):
    """This machine cannot run what it was given."""

    code = "unfit"
    exit_code = 6


class InstallError(EdgeError):
    """An installation or its health check failed; what ran before still runs."""

    code = "install-failed"
    exit_code = 7


class Interrupted(EdgeError):  # noqa: N818 - not a failure, but it ends the process with a code
    """The user, or the system, asked the process to stop."""

    code = "interrupted"
    exit_code = 130


def kind_of(code: str) -> Optional[type[EdgeError]]:
    """Return the class whose ``code`` this is, the most general one, or None when this process knows none."""
    return next((kind for kind in _descendants(EdgeError) if kind.code == code), None)


def _descendants(kind: type[EdgeError]) -> Iterator[type[EdgeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)
