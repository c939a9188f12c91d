"""Benchmark runs, and what they were held against, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from edgekit.cli.output import answer, table

if TYPE_CHECKING:
    from device_runtime.contract.bench import BenchReport
    from edgekit.benching.compare import Comparison
    from edgekit.benching.gates import Gate
    from edgekit.benching.outcome import Outcome
    from edgekit.benching.sweep_report import SweepReport
    from edgekit.deploying.fleet import BoardOutcome

_OPERATORS = 5


def show_outcome(outcome: Outcome) -> None:
    """Print a run, its comparison and its gates."""
    report = outcome.report
    _show_report(report)
    if outcome.comparison:
        _show_comparison(outcome.comparison)
    _show_gates(outcome.gates)


def show_boards(outcomes: Sequence[BoardOutcome[Outcome]]) -> None:
    """Print several boards: a line for each, and below what came of their gates."""
    columns = ("board", "outcome", "code", "model", "total p50", "p95", "invoke p50", "fps", "memory")
    table(columns, [_board_row(each) for each in outcomes], right=(2, 4, 5, 6, 7, 8))
    for each in outcomes:
        if each.error:
            answer(f"{each.target}: {each.error.message.removeprefix(f'{each.target}: ')}")
            for line in each.error.hint.splitlines():
                answer(f"  hint: {line}")
        elif each.done:
            for line in (*_comparison_lines(each.done.comparison), *_gate_lines(each.done.gates)):
                answer(f"{each.target}: {line}")


def show_sweep(report: SweepReport) -> None:
    """Print a sweep, and what it recommends."""
    from edgekit.benching.sweep_table import sweep_table  # noqa: PLC0415 - only for those who sweep

    shown = sweep_table(report)
    table(shown.columns, shown.rows, right=shown.right)
    for note in shown.notes:
        answer(note)


def _show_report(report: BenchReport) -> None:
    from edgekit.benching.compare import describe_engine, describe_place  # noqa: PLC0415 - as in the verb
    from edgekit.benching.report import missing_percentiles, stage_rows, waiting  # noqa: PLC0415
    from edgekit.benching.verdict import flag_of, judge  # noqa: PLC0415

    flag = flag_of(report)
    answer(f"{report.model.name} on {describe_place(report)}, {describe_engine(report)}")
    columns = (f"ms, {flag}" if flag else "ms", "p50", "95% of p50", "p90", "p95", "p99", "mean", "min", "max")
    rows = [
        (row.stage, row.p50, row.p50_interval or "–", row.p90, row.p95, row.p99, row.mean, row.min, row.max)
        for row in stage_rows(report)
    ]
    table(columns, rows, right=range(1, len(columns)))
    for remark in (waiting(report), missing_percentiles(report), *_facts(report)):
        if remark:
            answer(remark)
    _show_operators(report)
    verdict = judge(report)
    answer(verdict.title)
    if flag:
        answer(f"  {verdict.explanation}")


def _facts(report: BenchReport) -> Iterator[str]:
    from edgekit.reporting.axes import memory, milliseconds  # noqa: PLC0415 - as above

    yield f"{report.fps:.1f} fps over {report.frames} frames, {report.dropped} dropped"
    if report.at_rate:
        rate = report.at_rate
        yield (
            f"as a camera of {rate.camera_fps:g} fps: {rate.fps:.1f} predictions per second, {rate.dropped} of "
            f"{rate.frames + rate.dropped} frames dropped, p50 of their age {milliseconds(rate.latency.p50)} ms"
        )
    share = f", {memory(report.model_rss_bytes)} of it by the model" if report.model_rss_bytes is not None else ""
    yield f"peak memory {memory(report.peak_rss_bytes)}{share}; model file {memory(report.model.size_bytes)}"
    loading = f"loading {milliseconds(report.load_ms)} ms, first inference {milliseconds(report.first_inference_ms)} ms"
    starts = report.cold_start.first_prediction_ms if report.cold_start else ()
    if not starts:
        yield loading
    else:
        several = f" (median of {len(starts)}, {milliseconds(min(starts))}–{milliseconds(max(starts))})"
        yield f"cold start {milliseconds(median(starts))} ms{several if len(starts) > 1 else ''}; {loading}"
    if report.harness_us is not None:
        yield f"measuring itself costs {report.harness_us:.3g} µs per frame, which is in fps and not in invoke"


def _show_operators(report: BenchReport) -> None:
    from edgekit.reporting.axes import milliseconds  # noqa: PLC0415 - as above

    profile = report.operators
    if profile is None or not profile.operators:
        return
    top = profile.slowest[:_OPERATORS]
    rows = [
        (f"{each.index} {each.name}".rstrip()[-60:], each.type, milliseconds(each.mean_ms), f"{each.share:.1%}")
        for each in top
    ]
    table(("operator", "type", "ms", "share"), rows, right=(2, 3))
    if len(profile.operators) > len(top):
        answer(f"the first {len(top)} of {len(profile.operators)} operators; all are in --json and --html")


def _show_comparison(comparison: Comparison) -> None:
    from edgekit.benching.compare import change, signed  # noqa: PLC0415 - as above
    from edgekit.reporting.axes import milliseconds  # noqa: PLC0415

    before = comparison.before
    answer("")
    answer(f"compared with {before.model} of {before.created} on {before.machine}")
    words = {"same": "no difference shown", "unknown": ""}
    rows = [
        (
            f"{each.stage} {each.percentile}",
            f"{milliseconds(each.before_ms)} ms",
            f"{milliseconds(each.after_ms)} ms",
            change(each),
            words.get(each.word, each.word),
        )
        for each in comparison.figures
    ]
    rows += [
        (fact.name, fact.words(fact.before), fact.words(fact.after), signed(fact.ratio) if fact.ratio else "–", "")
        for fact in comparison.facts
    ]
    table(("", "before", "after", "change (95%)", ""), rows, right=(1, 2))
    for line in _comparison_lines(comparison):
        answer(line)


def _comparison_lines(comparison: Comparison | None) -> Iterator[str]:
    if comparison is None:
        return
    from edgekit.benching.compare import title_of  # noqa: PLC0415 - as above

    yield title_of(comparison)
    for doubt in comparison.doubts:
        yield f"  in doubt: {doubt.text}"
    for each in comparison.differences:
        yield f"  {each.what}: {each.before[:60]} → {each.after[:60]}"


def _show_gates(gates: Sequence[Gate]) -> None:
    if gates:
        answer("")
    for line in _gate_lines(gates):
        answer(line)


def _gate_lines(gates: Sequence[Gate]) -> Iterator[str]:
    words = {"passed": "passed", "missed": "MISSED", "undecided": "NOT DECIDED"}
    for gate in gates:
        yield f"{words[gate.outcome]}: {gate.name}: {gate.detail}"


def _board_row(each: BoardOutcome[Outcome]) -> tuple[object, ...]:
    from edgekit.benching.verdict import flag_of  # noqa: PLC0415 - as above
    from edgekit.reporting.axes import memory, milliseconds  # noqa: PLC0415

    if each.done is None:
        return each.target, each.error.code if each.error else "–", each.exit_code, *["–"] * 6
    report, gates = each.done.report, {gate.outcome for gate in each.done.gates}
    outcome = "missed" if "missed" in gates else "not decided" if "undecided" in gates else "measured"
    total = report.stages["total"]
    return (
        each.target,
        f"{outcome}, {flag}" if (flag := flag_of(report)) else outcome,
        each.exit_code,
        report.model.name,
        f"{milliseconds(total.p50)} ms",
        "–" if total.p95 is None else f"{milliseconds(total.p95)} ms",
        f"{milliseconds(report.stages['invoke'].p50)} ms",
        f"{report.fps:.1f}",
        memory(report.peak_rss_bytes),
    )
