"""Benchmark runs as GitHub-flavoured Markdown: for the summary of a CI job, or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median

from device_runtime.contract.bench import BenchReport
from edgekit.benching.compare import Comparison, change, describe_engine, describe_machine, signed, title_of
from edgekit.benching.gates import Gate
from edgekit.benching.outcome import Failure, Outcome
from edgekit.benching.report import missing_percentiles, stage_rows
from edgekit.benching.sweep_report import SweepReport
from edgekit.benching.sweep_table import sweep_table
from edgekit.benching.verdict import judge
from edgekit.reporting.axes import UNKNOWN, memory, milliseconds

_MARKS = {"passed": "✅ passed", "missed": "❌ missed", "undecided": "⚠️ not decided"}
_OPERATORS = 5


def markdown(outcomes: Sequence[Outcome | Failure]) -> str:
    """Return runs as Markdown. Whatever they say is shown as text, never as markup, a mention or a link."""
    lines: list[str] = []
    for outcome in outcomes:
        lines += [*(_failed(outcome) if isinstance(outcome, Failure) else _measured(outcome)), ""]
    return "\n".join(lines)


def sweep_markdown(report: SweepReport) -> str:
    """Return a sweep as Markdown, as ``markdown`` does runs."""
    shown = sweep_table(report)
    lines = [f"### Sweep of {escaped(report.model)}", ""]
    lines.append(f"| {' | '.join(escaped(cell) for cell in shown.columns)} |")
    lines.append(f"|{'|'.join('--:' if place in shown.right else '---' for place in range(len(shown.columns)))}|")
    lines += [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in shown.rows]
    for note in shown.notes:
        lines += ["", escaped(note)]
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, in one line: in a paragraph, or in a cell of a table.

    Any mark may stand behind a backslash (CommonMark, 2.4); ``@`` and ``#`` would be a mention and an issue of GitHub's
    where a comment did not part them from what follows.
    """
    line = re.sub(r"[\s\x00-\x1f\x7f\u2028\u2029]+", " ", text).strip()
    line = re.sub(r"([\\`*_{}\[\]<>|~&$!])", r"\\\1", line)
    line = re.sub(r"([@#])(?=\w)", r"\1<!-- -->", line)
    # "www." and "https://" would be links by themselves (GitHub Flavored Markdown, 6.9).
    return re.sub(r"(?i)\b(www|https?|ftp)(?=\.|:)", r"\1<!-- -->", line)


def _measured(outcome: Outcome) -> Iterator[str]:
    report = outcome.report
    yield f"### {escaped(report.model.name)} on {escaped(report.target or describe_machine(report.before))}"
    yield ""
    verdict = judge(report)
    if verdict.kind == "disturbed":
        yield f"> ⚠️ **{escaped(verdict.title)}.** {escaped(verdict.explanation)}"
        yield ""
    if outcome.gates:
        yield from _gates(outcome.gates)
        yield ""
    yield from _stages(report)
    yield ""
    yield ", ".join(escaped(fact) for fact in _facts(report))
    if missing := missing_percentiles(report):
        yield ""
        yield escaped(missing)
    if outcome.comparison:
        yield ""
        yield from _comparison(outcome.comparison)
    if report.operators:
        yield ""
        yield from _operators(report)
    for warning in report.warnings:
        yield ""
        yield f"⚠️ {escaped(warning)}"


def _failed(failure: Failure) -> Iterator[str]:
    yield f"### {escaped(failure.target)}"
    yield ""
    yield f"❌ **{escaped(failure.error.message)}**"
    if failure.error.hint:
        yield ""
        yield f"hint: {escaped(failure.error.hint)}"


def _gates(gates: Sequence[Gate]) -> Iterator[str]:
    yield "| gate | | measured |"
    yield "|---|---|---|"
    for gate in gates:
        remedy = f". {gate.remedy}" if gate.remedy else ""
        yield f"| {escaped(gate.name)} | {_MARKS[gate.outcome]} | {escaped(gate.detail + remedy)} |"


def _stages(report: BenchReport) -> Iterator[str]:
    yield "| ms | p50 | 95% of p50 | p90 | p95 | p99 | max |"
    yield "|---|--:|:-:|--:|--:|--:|--:|"
    for row in stage_rows(report):
        cells = (row.stage, row.p50, row.p50_interval or UNKNOWN, row.p90, row.p95, row.p99, row.max)
        yield f"| {' | '.join(escaped(cell) for cell in cells)} |"


def _facts(report: BenchReport) -> Iterator[str]:
    yield f"{report.fps:.1f} fps over {report.frames} frames"
    yield f"peak memory {memory(report.peak_rss_bytes)}"
    if report.cold_start:
        yield f"cold start {milliseconds(median(report.cold_start.first_prediction_ms))} ms"
    if report.at_rate:
        rate = report.at_rate
        yield f"{rate.dropped} of {rate.frames + rate.dropped} frames dropped at {rate.camera_fps:g} fps"
    yield describe_engine(report)
    yield describe_machine(report.before)


def _comparison(comparison: Comparison) -> Iterator[str]:
    before = comparison.before
    yield f"**{escaped(title_of(comparison))}**"
    yield ""
    yield f"Compared with {escaped(before.model)} of {escaped(before.created)} on {escaped(before.machine)}:"
    yield ""
    yield "| | before | after | change | |"
    yield "|---|--:|--:|:-:|---|"
    for figure in comparison.figures:
        cells = (
            f"{figure.stage} {figure.percentile}",
            f"{milliseconds(figure.before_ms)} ms",
            f"{milliseconds(figure.after_ms)} ms",
            change(figure) if figure.interval else UNKNOWN,
            {"same": "no difference shown", "unknown": figure.why}.get(figure.word, figure.word),
        )
        yield f"| {' | '.join(escaped(cell) for cell in cells)} |"
    for fact in comparison.facts:
        ratio = signed(fact.ratio) if fact.ratio else UNKNOWN
        shown = (fact.name, fact.words(fact.before), fact.words(fact.after), ratio)
        yield f"| {' | '.join(escaped(cell) for cell in shown)} | |"
    for doubt in comparison.doubts:
        yield ""
        yield f"⚠️ {escaped(doubt.text)}"
    for each in comparison.differences:
        yield ""
        yield escaped(f"{each.what}: {each.before} → {each.after}")


def _operators(report: BenchReport) -> Iterator[str]:
    profile = report.operators
    if profile is None:
        return
    yield "| operator | type | ms | share |"
    yield "|---|---|--:|--:|"
    for each in profile.slowest[:_OPERATORS]:
        name = each.name or f"#{each.index}"
        yield f"| {escaped(name)} | {escaped(each.type)} | {milliseconds(each.mean_ms)} | {each.share:.1%} |"
