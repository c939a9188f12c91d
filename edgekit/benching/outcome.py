"""What came of one run, with all that is said of it: what every output, for people or for a CI, is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import encode
from device_runtime.contract.reported import ReportedError, report_of
from edgekit.benching.compare import Comparison
from edgekit.benching.gates import Gate, error_of


@dataclass(frozen=True)
class Outcome:
    """A run that was measured or read: ``comparison`` with another one, and what came of its gates."""

    report: BenchReport
    comparison: Comparison | None = None
    gates: tuple[Gate, ...] = ()

    @property
    def error(self) -> ReportedError | None:
        """The error for gates that were not passed; None when there is none."""
        found = error_of(self.gates)
        return report_of(found) if found else None

    @property
    def exit_code(self) -> int:
        """The code for this run: 0, or 8 for gates that were not all passed."""
        return self.error.exit_code if self.error else 0

    def document(self) -> dict[str, Any]:
        """Return the plain form for JSON: the report's own keys, and beside them what was asked for.

        A reader of reports reads it as one.
        """
        added: dict[str, object] = {}
        if self.comparison:
            added["comparison"] = self.comparison
        if self.gates:
            added |= {"gates": self.gates, "exit_code": self.exit_code}
        if self.error:
            added["error"] = self.error
        return {**encode(self.report), **encode(added)}


@dataclass(frozen=True)
class Failure:
    """A run that came to nothing: where it should have been, and the error that ended it."""

    target: str
    error: ReportedError
