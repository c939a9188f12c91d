"""Limits and regression gates: what they mean, what they decide, and what cannot be decided."""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.contract.bench import ColdStart, Interval
from device_runtime.errors import UsageError
from edgekit.benching.compare import compare_runs
from edgekit.benching.gates import (
    Gate,
    GateMissedError,
    GateUndecidedError,
    error_of,
    judge_limits,
    judge_regressions,
    parse_limit,
    parse_regression,
)
from tests.support.bench_reports import bench_report, machine
from tests.support.noisy_runs import noisy_report


def limit(report, text, **options):
    [gate] = judge_limits(report, [parse_limit(text)], **options)
    return gate


def regression(before, after, text="10%", **options):
    return judge_regressions(compare_runs(before, after), [parse_regression(text)], **options)


def outcomes(gates):
    return [gate.outcome for gate in gates]


@pytest.mark.parametrize(
    ("text", "name", "value", "unit"),
    [
        ("p95=40ms", "total.p95", 40.0, "ms"),
        ("invoke.p99=12ms", "invoke.p99", 12.0, "ms"),
        ("invoke.p50 = 850us", "invoke.p50", 0.85, "ms"),
        ("draw.max=1.5s", "draw.max", 1500.0, "ms"),
        ("fps=20", "fps", 20.0, "fps"),
        ("memory=200MB", "memory", 200e6, "bytes"),
        ("cold-start=2s", "cold-start", 2000.0, "ms"),
        ("load=90ms", "load", 90.0, "ms"),
    ],
)
def test_limits_are_read(text, name, value, unit):
    found = parse_limit(text)
    assert (found.name, found.value, found.unit) == (name, value, unit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95", "expected FIGURE=LIMIT"),
        ("p95=40", "expected a number above 0 with its unit, as 40ms"),
        ("p95=0ms", "expected a number above 0 with its unit"),
        ("p95=40MB", "expected a number above 0 with its unit"),
        ("p95=-1ms", "expected a number above 0 with its unit"),
        ("p95=nanms", "expected a number above 0 with its unit"),
        ("p98=40ms", 'no figure "p98"'),
        ("invok.p95=40ms", 'no stage "invok"'),
        ("invoke.fps=20", "fps is of the whole run"),
        ("fps=20ms", "fps: expected a number above 0"),
        ("", "expected FIGURE=LIMIT"),
    ],
)
def test_a_limit_that_means_nothing_is_refused_with_an_example(text, message):
    with pytest.raises(UsageError, match="--fail-over: ") as caught:
        parse_limit(text)
    assert message in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["10", "ten%", "-1%", "p95=10%", "invoke.p99=", "x.p50=10%"])
def test_a_regression_gate_that_means_nothing_is_refused(text):
    with pytest.raises(UsageError, match="--fail-regression: ") as caught:
        parse_regression(text)
    assert caught.value.hint


@given(st.text())
def test_any_text_is_a_gate_or_a_usage_error(text):
    for parse in (parse_limit, parse_regression):
        with contextlib.suppress(UsageError):
            parse(text)


def test_limits_are_at_most_and_rates_at_least():
    report = bench_report()
    p95 = report.stages["total"].p95
    assert limit(report, f"p95={p95 + 0.1}ms").outcome == "passed"
    missed = limit(report, f"p95={p95 - 0.1:.3f}ms")
    assert missed.outcome == "missed"
    assert missed.name.startswith("total.p95 ≤ ")
    assert limit(report, "fps=80").outcome == "passed"
    assert limit(report, "fps=81").name == "fps ≥ 81.0"
    assert limit(report, "fps=81").outcome == "missed"
    assert limit(report, "memory=98.7MB").outcome == "passed"
    assert limit(report, "memory=98MB").outcome == "missed"


def test_the_slowest_cold_start_counts():
    report = bench_report(cold_start=ColdStart((900.0, 500.0)))
    assert limit(report, "cold-start=899ms").outcome == "missed"
    none = limit(bench_report(), "cold-start=899ms")
    assert (none.outcome, none.remedy) == ("undecided", "measure it: --cold-starts 3")


def test_a_limit_within_the_interval_is_decided_by_the_figure_and_it_is_said():
    report = bench_report()
    stats = dataclasses.replace(report.stages["invoke"], p50=10.0, p50_interval=Interval(9.0, 11.0))
    report = dataclasses.replace(report, stages={**report.stages, "invoke": stats})
    close = limit(report, "invoke.p50=10.5ms")
    assert close.outcome == "passed"
    assert "between 9.00 and 11.0: another run may tell otherwise" in close.detail
    assert limit(report, "invoke.p50=12ms").detail == "10.0 ms"


@pytest.mark.parametrize(("figure", "needed"), [("p90", 64), ("p95", 130), ("p99", 662)])
def test_a_percentile_that_the_run_is_too_short_for_decides_nothing(figure, needed):
    gate = limit(bench_report(frames=needed - 1), f"{figure}=1s")
    assert gate.outcome == "undecided"
    assert gate.detail == f"{figure} takes {needed} frames, and this run had {needed - 1}"
    assert gate.remedy == f"measure longer: --runs {needed}"


def test_a_stage_that_was_not_measured_decides_nothing():
    gate = limit(bench_report(), "draw.p50=3ms")
    assert (gate.outcome, gate.remedy) == ("undecided", "measure it: --draw")


def test_a_disturbed_run_decides_nothing_unless_that_is_accepted():
    report = bench_report(disturbed=("others took 30% of the cores",))
    gate = limit(report, "p95=1s")
    assert gate.outcome == "undecided"
    assert "in a disturbed run: others took 30% of the cores" in gate.detail
    assert "--accept-disturbed" in gate.remedy
    assert limit(report, "p95=1s", accept_disturbed=True).outcome == "passed"
    assert limit(report, "memory=1GB").outcome == "passed"
    assert limit(bench_report(steady=False), "p95=1s").outcome == "undecided"


def test_times_of_an_emulated_machine_never_decide():
    report = bench_report(before=machine(emulated="qemu"))
    assert limit(report, "p95=1s", accept_disturbed=True).outcome == "undecided"
    assert limit(report, "fps=1", accept_disturbed=True).outcome == "undecided"
    assert limit(report, "memory=1MB").outcome == "missed"


def test_p95_of_a_run_of_version_1_comes_from_its_samples():
    report = bench_report()
    stats = {stage: dataclasses.replace(each, p95=None) for stage, each in report.stages.items()}
    old = dataclasses.replace(report, stages=stats, schema=1)
    assert limit(old, "p95=1s").outcome == "passed"
    assert limit(old, "p95=1ms").outcome == "missed"


def test_a_slow_down_of_a_tenth_is_missed_at_0_and_5_per_cent_and_its_like_is_not():
    one, like, slower = noisy_report(1), noisy_report(2), noisy_report(3, slower=1.1)
    for share in ("0%", "5%"):
        assert outcomes(regression(one, slower, share)) == ["missed", "missed"]
        assert outcomes(regression(one, like, share)) == ["passed", "passed"]


def test_a_slow_down_that_is_not_shown_to_exceed_the_share_passes_and_what_may_hide_is_said():
    gates = regression(noisy_report(1), noisy_report(3, slower=1.1), "10%")
    assert outcomes(gates) == ["passed", "passed"]
    assert ": these runs cannot show a slow-down of less than +" in gates[0].detail
    assert outcomes(regression(noisy_report(1), noisy_report(3, slower=1.25), "10%")) == ["missed", "missed"]


def test_both_judged_figures_or_one_that_was_named():
    one, two = noisy_report(1), noisy_report(2, slower=1.5)
    assert [gate.name for gate in regression(one, two)] == ["total.p50 at most +10.0%", "invoke.p50 at most +10.0%"]
    assert [gate.name for gate in regression(one, two, "invoke.p99=20%")] == ["invoke.p99 at most +20.0%"]


@pytest.mark.parametrize(
    ("changes", "detail", "accepted"),
    [
        ({"disturbed": ("busy",)}, "the second run was disturbed: busy", "passed"),
        ({"before": machine(board="another")}, "they are from different machines", "undecided"),
        ({"before": machine(emulated="qemu")}, "its times mean nothing", "undecided"),
    ],
)
def test_doubtful_comparisons_decide_nothing(changes, detail, accepted):
    one, two = noisy_report(1), noisy_report(2, **changes)
    gate = regression(one, two)[0]
    assert gate.outcome == "undecided"
    assert detail in gate.detail
    assert gate.remedy
    assert regression(one, two, accept_disturbed=True)[0].outcome == accepted


def test_without_a_comparison_or_its_figure_nothing_is_decided():
    [gate, _] = judge_regressions(None, [parse_regression("10%")])
    assert (gate.outcome, gate.remedy) == ("undecided", "save one: edgekit bench --save")
    [gate] = regression(noisy_report(1), noisy_report(2, frames=300), "invoke.p99=10%")
    assert gate.detail == "p99 takes 662 frames of each run, and one has 300"
    [gate] = regression(noisy_report(1), noisy_report(2), "draw.p50=10%")
    assert (gate.outcome, gate.remedy) == ("undecided", "measure it in both: --draw")
    [gate] = regression(noisy_report(1), noisy_report(2, source="file:a.mp4"), "total.p50=10%")
    assert "different sources" in gate.detail


def test_a_missed_gate_counts_for_more_than_one_not_decided():
    passed, missed, undecided = (
        Gate(f"gate {outcome}", outcome, "why", "do this" if outcome != "passed" else "")
        for outcome in ("passed", "missed", "undecided")
    )
    assert error_of([passed]) is None
    error = error_of([passed, undecided, missed])
    assert isinstance(error, GateMissedError)
    assert (str(error), error.exit_code, error.hint) == ("a gate was missed: gate missed: why", 8, "do this")
    error = error_of([undecided, undecided])
    assert isinstance(error, GateUndecidedError)
    assert (error.code, error.exit_code, error.hint) == ("gate-undecided", 8, "do this")
    assert str(error).startswith("2 gates were not decided: ")
