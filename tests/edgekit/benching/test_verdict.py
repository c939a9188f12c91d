"""A disturbed run never looks like a clean one."""

import pytest

from device_runtime.contract.bench import Moment
from edgekit.benching.verdict import flag_of, judge
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


def test_throttling_during_the_run_disturbs_though_it_was_over_at_the_end():
    verdict = judge(
        bench_report(during=(Moment(0.0, throttled=0), Moment(1.0, throttled=NOW), Moment(2.0, throttled=0)))
    )
    assert (verdict.kind, verdict.title) == ("disturbed", "Disturbed run: under-voltage")


def test_what_the_harness_says_disturbs_and_is_named_without_its_figures():
    reasons = ("the machine was slowed down: under-voltage", "others took 40% of the cores: it is in these figures")
    bits = {"before": machine(throttled=NOW), "after": machine(throttled=NOW)}
    verdict = judge(bench_report(disturbed=reasons, warnings=reasons, **bits))
    assert verdict.title == "Disturbed run: under-voltage, others took 40% of the cores"
    assert flag_of(bench_report(disturbed=reasons)) == "disturbed"


def test_a_busy_machine_disturbs_in_reports_that_do_not_yet_say_so_themselves():
    verdict = judge(bench_report(before=machine(load_1min=3.5), schema=1))
    assert (verdict.kind, verdict.title) == ("disturbed", "Disturbed run: others worked on the machine before the run")


def test_an_unsteady_run_is_no_result():
    report = bench_report(steady=False, warnings=("latencies had not settled within 10 s",))
    verdict = judge(report)
    assert (verdict.kind, verdict.title) == (
        "disturbed",
        "Unsteady run: latencies had not settled when the warm-up ended",
    )
    assert flag_of(report) == "unsteady"


def test_an_emulated_run_is_no_result_whatever_else_happened():
    report = bench_report(before=machine(emulated="QEMU", throttled=NOW))
    verdict = judge(report)
    assert verdict.kind == "disturbed"
    assert verdict.title == "Emulated machine: its times mean nothing (QEMU)"
    assert flag_of(report) == "emulated"


def test_a_result_has_no_flag():
    assert flag_of(bench_report()) == flag_of(bench_report(warnings=("CPU governor is ondemand",))) == ""


def test_other_warnings_are_notes():
    verdict = judge(bench_report(warnings=("CPU governor is ondemand",)))
    assert (verdict.kind, verdict.title) == ("noted", "Clean run, with notes")
