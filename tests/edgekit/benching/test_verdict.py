"""A disturbed run never looks like a clean one."""

import pytest

from edgekit.benching.verdict import judge
from tests.support.bench_reports import LONG_AGO, NOW, bench_report, machine


def test_a_quiet_machine_that_tells_everything_gives_a_clean_run():
    verdict = judge(bench_report())
    assert (verdict.kind, verdict.title) == ("clean", "Clean run")


def test_what_a_machine_does_not_tell_is_named_and_not_called_clean():
    silent = machine(throttled=None, frequency_mhz=None, temperature_c=None)
    verdict = judge(bench_report(before=silent, after=silent))
    assert (verdict.kind, verdict.title) == ("clean", "No disturbance seen")
    assert "it does not tell its throttling, clock and temperature" in verdict.explanation


@pytest.mark.parametrize(("before", "after"), [(NOW, 0), (0, NOW), (0, LONG_AGO)])
def test_a_throttled_run_is_disturbed(before, after):
    verdict = judge(bench_report(before=machine(throttled=before), after=machine(throttled=after)))
    assert (verdict.kind, verdict.title) == ("disturbed", "Disturbed run: under-voltage")


def test_throttling_long_before_the_run_disturbs_nothing():
    state = machine(throttled=LONG_AGO)
    assert judge(bench_report(before=state, after=state)).kind == "clean"


def test_a_busy_machine_disturbs():
    verdict = judge(bench_report(before=machine(load_1min=3.5)))
    assert (verdict.kind, verdict.title) == ("disturbed", "Disturbed run: other work on the machine")


def test_other_warnings_are_notes():
    verdict = judge(bench_report(warnings=("CPU governor is ondemand",)))
    assert (verdict.kind, verdict.title) == ("noted", "Clean run, with notes")
