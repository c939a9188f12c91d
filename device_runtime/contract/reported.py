"""Errors as they travel: between processes, between host and board, and to whoever asks for ``--json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Optional

from device_runtime.contract.decode import decode
from device_runtime.errors import BadFileError, EdgeError, kind_of


@dataclass(frozen=True)
class ReportedError:
    """An EdgeError as it travels: the message and its hint, the stable code, and the exit code."""

    code: str
    message: str
    hint: str
    exit_code: int

    def error(self) -> EdgeError:
        """Return what the other side raised, to be raised here: of its class where that is known, with its codes."""
        kind = kind_of(self.code) or EdgeError
        error = kind(self.message, hint=self.hint)
        error.code, error.exit_code = self.code, self.exit_code
        return error


def report_of(error: EdgeError) -> ReportedError:
    """Return an error as it travels."""
    return ReportedError(error.code, str(error), error.hint, error.exit_code)


def error_in(answer: str) -> Optional[EdgeError]:
    """Return the error that a process answered as its one ``--json`` document, or None when that is something else."""
    try:
        return decode(ReportedError, json.loads(answer)["error"], "the answer").error()
    except (ValueError, RecursionError, KeyError, TypeError, BadFileError):
        return None
