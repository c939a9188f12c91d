"""Checks are data, and one that breaks does not stop the others."""

import pytest

from device_runtime.contract.events import Progress, Step
from edgekit.doctor.interface import Check, Finding, Status, ok, run_checks


def broken():
    raise RuntimeError("nobody foresaw this")


def test_results_come_in_order_with_what_was_found():
    warning = Finding(Status.WARN, "a little", "more", "add some")
    report = run_checks([Check("one", "One", lambda: ok("fine")), Check("two", "Two", lambda: warning)])
    assert report.ok
    assert [(result.name, result.status, result.found, result.remedy) for result in report.checks] == [
        ("one", Status.OK, "fine", ""),
        ("two", Status.WARN, "a little", "add some"),
    ]


def test_a_check_that_breaks_has_failed_and_the_others_still_run():
    report = run_checks([Check("one", "One", broken), Check("two", "Two", lambda: ok("fine"))])
    assert not report.ok
    assert [result.status for result in report.checks] == [Status.FAIL, Status.OK]
    assert report.checks[0].found == "the check broke: RuntimeError: nobody foresaw this"


def test_slow_checks_are_announced():
    events = []
    run_checks([Check("one", "One", lambda: ok("")), Check("two", "Two", lambda: ok(""), slow=True)], events.append)
    assert events == [Progress(0, 2, "checks"), Step("check Two; this takes seconds")]


def test_a_failure_without_a_remedy_cannot_be_made():
    with pytest.raises(ValueError, match="what mends it"):
        Finding(Status.FAIL, "broken", "whole")
