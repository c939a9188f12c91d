"""Whether a benchmark's figures may be quoted as they are."""

from __future__ import annotations

from device_runtime.contract.bench import BenchReport
from device_runtime.machine import busy, throttling
from edgekit.reporting.page import Verdict


def judge(report: BenchReport) -> Verdict:
    """Decide from what the machine told before and after the run.

    ``disturbed``: the machine was slowed down, or others worked on it; ``noted``: there is something else to know.
    """
    slowed = throttling(report.before, report.after)
    crowded = busy(report.before)
    if slowed or crowded:
        causes = [*slowed, *(["other work on the machine"] if crowded else [])]
        return Verdict(
            "disturbed",
            f"Disturbed run: {', '.join(causes)}",
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


def _not_told(report: BenchReport) -> str:
    readings = {
        "throttling": report.after.throttled,
        "clock": report.after.frequency_mhz,
        "temperature": report.after.temperature_c,
        "load": report.before.load_1min,
    }
    missing = [name for name, value in readings.items() if value is None]
    return " and ".join([", ".join(missing[:-1]), missing[-1]]) if len(missing) > 1 else "".join(missing)
