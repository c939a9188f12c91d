"""What a check is, what it finds, and how a list of them is run."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from device_runtime.contract.events import Events, Progress, Step, silent


class Status(enum.Enum):
    """How a check ended. A warning is something that may matter to you; a failure is something that will."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What a check saw. Of anything but OK, ``expected`` says what was wanted and ``remedy`` is a command or a deed."""

    status: Status
    found: str
    expected: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.status is not Status.OK and not (self.expected and self.remedy):
            raise ValueError(f"a finding that is not ok says what was expected and what mends it: {self.found}")


def ok(found: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(Status.OK, found)


@dataclass(frozen=True)
class Check:
    """Something to look at. ``slow`` checks take seconds, and are left out of a quick run."""

    name: str
    title: str
    examine: Callable[[], Finding] = field(repr=False)
    slow: bool = False


@dataclass(frozen=True)
class CheckResult:
    """A check's name and title with what it found."""

    name: str
    title: str
    status: Status
    found: str
    expected: str
    remedy: str


@dataclass(frozen=True)
class DoctorReport:
    """All results, in order. ``ok`` when nothing failed; warnings do not count."""

    ok: bool
    checks: tuple[CheckResult, ...]


def run_checks(checks: Sequence[Check], events: Events = silent) -> DoctorReport:
    """Run checks one after the other. One that breaks is a failure, and the others still run."""
    results = []
    for done, check in enumerate(checks):
        events(
            Step(f"check {check.title}; this takes seconds") if check.slow else Progress(done, len(checks), "checks")
        )
        finding = _examined(check)
        results.append(
            CheckResult(check.name, check.title, finding.status, finding.found, finding.expected, finding.remedy)
        )
    return DoctorReport(all(result.status is not Status.FAIL for result in results), tuple(results))


def _examined(check: Check) -> Finding:
    try:
        return check.examine()
    except Exception as error:  # noqa: BLE001 - a machine that is ill breaks things in ways that nobody foresaw
        return Finding(
            Status.FAIL,
            f"the check broke: {type(error).__name__}: {error}",
            "to be able to look",
            "edgekit doctor --json, and report it",
        )
