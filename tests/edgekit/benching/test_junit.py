"""JUnit XML: a suite for each run, a case for each gate, and whatever text in it."""

import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.contract.bench import ModelFacts
from device_runtime.contract.reported import ReportedError
from edgekit.benching.compare import compare_runs
from edgekit.benching.gates import Gate
from edgekit.benching.junit import junit
from edgekit.benching.outcome import Failure, Outcome
from tests.support.bench_reports import bench_report, full_report

_GATES = (
    Gate("total.p95 ≤ 40.0 ms", "passed", "12.0 ms"),
    Gate("fps ≥ 90.0", "missed", "80.4"),
    Gate("total.p99 ≤ 50.0 ms", "undecided", "p99 takes 662 frames", "measure longer: --runs 662"),
)


def parsed(*outcomes):
    return ET.fromstring(junit(outcomes).encode())  # noqa: S314 - this process wrote it


def test_each_gate_is_a_case_and_a_missed_one_a_failure():
    root = parsed(Outcome(bench_report(), gates=_GATES))
    [suite] = root
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "1", "1")
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert list(cases) == ["measured", *(gate.name for gate in _GATES)]
    assert cases["total.p95 ≤ 40.0 ms"].find("failure") is None
    assert cases["fps ≥ 90.0"].find("failure").get("message") == "fps ≥ 90.0: 80.4"
    error = cases["total.p99 ≤ 50.0 ms"].find("error")
    assert (error.get("type"), error.text) == ("gate-undecided", "p99 takes 662 frames\nmeasure longer: --runs 662")


def test_a_suite_says_when_where_and_what_was_measured():
    [suite] = parsed(Outcome(full_report()))
    assert suite.get("name") == "edgekit bench: yolo11n-belt on pi4.local"
    assert (suite.get("timestamp"), suite.get("hostname")) == ("2026-03-01T09:30:00", "pi4.local")
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["sha256"] == "3f" * 32
    assert properties["invoke.p50_ms"]


def test_disturbances_warnings_and_the_comparison_are_in_the_output():
    before, after = bench_report(), full_report()
    [suite] = parsed(Outcome(after, compare_runs(before, after)))
    text = suite.find("system-out").text
    assert text.startswith("Disturbed run: ")
    assert "warning: CPU governor is ondemand" in text
    assert f"compared with the run of {before.created}: slower, but in doubt" in text


def test_a_board_that_gave_nothing_is_an_error_beside_the_others():
    failure = Failure("pi5", ReportedError("unreachable", "pi5: no route to host", "ping pi5", 5))
    root = parsed(Outcome(bench_report()), failure)
    assert (root.get("tests"), root.get("errors")) == ("2", "1")
    error = root[1].find("testcase/error")
    assert (error.get("type"), error.text) == ("unreachable", "pi5: no route to host\nping pi5")


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_makes_a_document_that_can_be_read(text):
    report = bench_report(70, model=ModelFacts(text, "ab" * 32, 1, text), warnings=(text,), target=text or None)
    root = parsed(Outcome(report, gates=(Gate(text, "missed", text, text),)))
    assert root.get("failures") == "1"
