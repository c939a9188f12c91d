"""JUnit XML for CI servers: a test suite for each run, a test case for each gate."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from device_runtime.contract.bench import BenchReport
from edgekit.benching.compare import describe_engine, describe_machine, title_of
from edgekit.benching.gates import Gate
from edgekit.benching.outcome import Failure, Outcome
from edgekit.benching.report import stage_rows
from edgekit.benching.verdict import judge

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped (section 2.2)."""


def junit(outcomes: Sequence[Outcome | Failure]) -> str:
    """Return runs as a JUnit document.

    A gate is a test case: a missed one is a failure, one that could not be decided an error. The case ``measured`` says
    that there is a result at all; of a run that came to nothing it is an error. Its form is that of Jenkins' JUnit
    plugin (junit-10.xsd), which GitHub, GitLab and Azure read, too.
    """
    root = ET.Element("testsuites")
    for outcome in outcomes:
        suite = ET.SubElement(root, "testsuite")
        cases = _failed(outcome, suite) if isinstance(outcome, Failure) else _measured(outcome, suite)
        for tag, kind in (("failures", "failure"), ("errors", "error")):
            suite.set(tag, str(sum(case.find(kind) is not None for case in cases)))
        suite.set("tests", str(len(cases)))
        suite.set("skipped", "0")
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    for element in root.iter():
        element.text = _clean(element.text) if element.text else None
        for name, value in element.items():
            element.set(name, _clean(value))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="utf-8"?>\n', "\n")
    )


def _measured(outcome: Outcome, suite: ET.Element) -> list[ET.Element]:
    report = outcome.report
    where = report.target or "this machine"
    suite.set("name", f"edgekit bench: {report.model.name} on {where}")
    suite.set("timestamp", report.created[:19])
    suite.set("hostname", where)
    suite.set("time", f"{report.duration_s:.3f}")
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", name=name, value=value)
    group = f"bench.{report.model.name}.{where}"
    cases = [ET.SubElement(suite, "testcase", classname=group, name="measured", time=f"{report.duration_s:.3f}")]
    for gate in outcome.gates:
        case = ET.SubElement(suite, "testcase", classname=group, name=gate.name, time="0")
        _say(case, gate)
        cases.append(case)
    lines = [judge(report).title, *(f"warning: {warning}" for warning in report.warnings)]
    if outcome.comparison:
        lines.append(f"compared with the run of {outcome.comparison.before.created}: {title_of(outcome.comparison)}")
        lines += [f"warning: {doubt.text}" for doubt in outcome.comparison.doubts]
    ET.SubElement(suite, "system-out").text = "\n".join(lines)
    return cases


def _failed(failure: Failure, suite: ET.Element) -> list[ET.Element]:
    suite.set("name", f"edgekit bench: {failure.target}")
    suite.set("hostname", failure.target)
    suite.set("time", "0")
    case = ET.SubElement(suite, "testcase", classname=f"bench.{failure.target}", name="measured", time="0")
    error = failure.error
    ET.SubElement(case, "error", type=error.code, message=error.message).text = f"{error.message}\n{error.hint}".strip()
    return [case]


def _say(case: ET.Element, gate: Gate) -> None:
    if gate.outcome == "passed":
        ET.SubElement(case, "system-out").text = gate.detail
        return
    tag, kind = ("failure", "gate-missed") if gate.outcome == "missed" else ("error", "gate-undecided")
    element = ET.SubElement(case, tag, type=kind, message=f"{gate.name}: {gate.detail}")
    element.text = f"{gate.detail}\n{gate.remedy}".strip()


def _properties(report: BenchReport) -> dict[str, str]:
    found = {
        "model": report.model.name,
        "sha256": report.model.sha256,
        "engine": describe_engine(report),
        "machine": describe_machine(report.before),
        "frames": str(report.frames),
        "fps": f"{report.fps:.2f}",
        "peak_rss_bytes": str(report.peak_rss_bytes),
    }
    for row in stage_rows(report):
        found |= {f"{row.stage}.p50_ms": row.p50, f"{row.stage}.p95_ms": row.p95, f"{row.stage}.p99_ms": row.p99}
    return found


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
