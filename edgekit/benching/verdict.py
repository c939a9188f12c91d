"""Whether a benchmark's figures may be quoted as they are."""

from __future__ import annotations

import re

from device_runtime.contract.bench import BenchReport
from device_runtime.machine import throttling
from edgekit.benching.compare import disturbances
from edgekit.reporting.page import Verdict, listed


def judge(report: BenchReport) -> Verdict:
    """Decide from what the run and the machine told.

    ``disturbed``: the figures are no result: the machine was emulated, slowed down or busy, or latencies never settled;
    ``noted``: there is something else to know.
    """
    if report.before.emulated:
        return Verdict(
            "disturbed",
            f"Emulated machine: its times mean nothing ({report.before.emulated})",
            "How long something takes in an emulator says nothing of the machine that it imitates, not even which of "
            "two models is faster. That the model runs, its sizes and its operators hold.",
        )
    causes = _causes(report)
    if causes:
        return Verdict(
            "disturbed",
            f"{'Unsteady' if _only_unsteady(report) else 'Disturbed'} run: {', '.join(causes)}",
            "These figures say how fast the model was under these conditions, not how fast it is. Measure again on a "
            "machine that is cool, well powered and idle before quoting them.",
        )
    silent = _not_told(report)
    seen = "Nothing slowed the machine down and no other work disturbed it"
    explanation = f"{seen}, as far as it tells: it does not tell its {silent}." if silent else f"{seen}."
    title = "No disturbance seen" if silent else "Clean run"
    if report.warnings:
        return Verdict("noted", f"{title}, with notes", explanation)
    return Verdict("clean", title, explanation)


def flag_of(report: BenchReport) -> str:
    """Return the one word that stands at each figure of a run that is no result; empty for all others."""
    if judge(report).kind != "disturbed":
        return ""
    if report.before.emulated:
        return "emulated"
    return "unsteady" if _only_unsteady(report) else "disturbed"


def _causes(report: BenchReport) -> list[str]:
    """Name in a few words each what makes the figures no result."""
    causes = throttling(report.before, report.after, report.during)
    for reason in disturbances(report):
        if not any(cause in reason for cause in causes):
            # A reason goes from the cause to its figures: "others worked here (load 3.5 on 4 cores): ...".
            causes.append(re.split(r" \(|[:;,] ", reason, maxsplit=1)[0])
    return causes


def _only_unsteady(report: BenchReport) -> bool:
    return not report.steady and not report.disturbed and not throttling(report.before, report.after, report.during)


def _not_told(report: BenchReport) -> str:
    readings = {
        "throttling": report.after.throttled,
        "clock": report.after.frequency_mhz,
        "temperature": report.after.temperature_c,
        "load": report.before.load_1min,
    }
    return listed([name for name, value in readings.items() if value is None])
