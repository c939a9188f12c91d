"""Two runs side by side, in the words and places of a page: a part of the later run's report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgekit.benching.compare import JUDGED, Comparison, Fact, Figure, signed, title_of
from edgekit.reporting.axes import Tick, milliseconds, nice_step, percent
from edgekit.reporting.page import Verdict, sentence

WORDS = {"slower": "slower", "faster": "faster", "same": "no difference shown", "unknown": "cannot be told"}

_LEAST_REACH = 0.1
"""The axis of changes reaches at least so far to both sides: noise of 1% shall not fill the page."""

_MOST_REACH = 1.0
"""And at most so far: what is twice as slow, or worse, ends in an arrow."""


@dataclass(frozen=True)
class ChangeRow:
    """A percentile of a stage in both runs, in words, and its change 0–100 along the axis of changes.

    ``low``, ``at`` and ``high`` are None where nothing can be told, ``why`` says why then. ``beyond`` is -1 where the
    change lies left of the axis's end, and 1 where it lies right of it.
    """

    name: str
    judged: bool
    word: str
    told: str
    before: str
    after: str
    change: str
    interval: str
    why: str
    low: float | None
    at: float | None
    high: float | None
    beyond: int


@dataclass(frozen=True)
class FactRow:
    """A figure that each run has once, in words."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class ComparisonView:
    """A comparison in its words.

    ``zero`` is where no change lies on the axis, ``noise`` from where to where processes differ that do the same.
    """

    verdict: Verdict
    warnings: tuple[str, ...]
    rows: tuple[ChangeRow, ...]
    ticks: tuple[Tick, ...]
    zero: float
    noise: tuple[float, float]
    facts: tuple[FactRow, ...]
    differences: tuple[tuple[str, str, str, bool], ...]
    between_runs: str


def judge_comparison(comparison: Comparison) -> Verdict:
    """Decide what to think of a comparison.

    ``disturbed``: nothing can be said of it, or it is in doubt; ``noted``: something became slower.
    """
    title = sentence(title_of(comparison)).removesuffix(".")
    if comparison.word == "unknown":
        return Verdict("disturbed", title, "Nothing can be said of the latencies of these runs.")
    if comparison.doubts:
        told = (
            "These changes say how the runs differ, and not how the models do. Measure both again, under the same "
            "conditions."
        )
        return Verdict("disturbed", title, told)
    told = {
        "slower": "This run is slower beyond the noise of both.",
        "faster": "This run is faster beyond the noise of both.",
        "same": "Whatever difference there is lies within the noise of the two runs.",
        "mixed": "Parts of this run are slower and parts are faster, beyond the noise of both.",
    }[comparison.word]
    return Verdict("clean" if comparison.word in ("faster", "same") else "noted", title, told)


def comparison_view(comparison: Comparison) -> ComparisonView:
    """Return a comparison for a page: its changes are drawn on one axis, from faster on the left to slower."""
    ends = [
        abs(value - 1)
        for figure in comparison.figures
        if figure.interval
        for value in (figure.interval.low, figure.interval.high)
    ]
    reach = min(_MOST_REACH, max(_LEAST_REACH, *(1.08 * end for end in ends), 0.0) if ends else _LEAST_REACH)
    step = nice_step(2 * reach, 4)
    count = int(reach / step + 1e-9)

    def at(ratio: float) -> float:
        return percent(min(max(ratio - 1 + reach, 0.0), 2 * reach), 2 * reach)

    noise = comparison.between_runs
    return ComparisonView(
        verdict=judge_comparison(comparison),
        warnings=tuple(sentence(doubt.text) for doubt in comparison.doubts),
        rows=tuple(_change_row(figure, reach, at) for figure in comparison.figures),
        ticks=tuple(Tick(at(1 + number * step), _tick(number * step)) for number in range(-count, count + 1)),
        zero=at(1.0),
        noise=(at(1 / (1 + noise)), at(1 + noise)),
        facts=tuple(_fact_row(fact) for fact in comparison.facts),
        differences=tuple((each.what, each.before, each.after, each.spoils) for each in comparison.differences),
        between_runs=f"{100 * noise:g}%",
    )


def _change_row(figure: Figure, reach: float, at: Callable[[float], float]) -> ChangeRow:
    ends = figure.interval
    return ChangeRow(
        name=f"{figure.stage} {figure.percentile}",
        judged=(figure.stage, figure.percentile) in JUDGED,
        word=figure.word,
        told=WORDS[figure.word],
        before=milliseconds(figure.before_ms),
        after=milliseconds(figure.after_ms),
        change=signed(figure.ratio),
        interval=f"{signed(ends.low)} to {signed(ends.high)}" if ends else "",
        why=figure.why,
        low=at(ends.low) if ends else None,
        at=at(figure.ratio) if ends else None,
        high=at(ends.high) if ends else None,
        beyond=0 if abs(figure.ratio - 1) <= reach else 1 if figure.ratio > 1 else -1,
    )


def _fact_row(fact: Fact) -> FactRow:
    ratio = fact.ratio
    before, after = fact.words(fact.before), fact.words(fact.after)
    return FactRow(fact.name, before, after, "" if ratio is None else signed(ratio))


def changes_of(comparison: Comparison, stage: str) -> tuple[tuple[str, str], ...]:
    """Return what a headline says of a stage's median beside its value: what it was, and how it changed."""
    figure = comparison.figure(stage, "p50")
    if figure is None:
        return ()
    return (("before", f"{milliseconds(figure.before_ms)} ms"), ("change", signed(figure.ratio)))


def method_of(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Say how runs are compared."""
    judged = " and ".join(f"{percentile} of {stage}" for stage, percentile in JUDGED)
    change = (
        "A figure of this run by that of the earlier one. It is slower or faster where the whole 95% interval of that "
        "ratio lies on one side of no change: two medians alone say nothing. The interval is a bootstrap over blocks "
        f"of neighbouring frames of both runs, widened by {100 * comparison.between_runs:g}% to both sides: by that "
        "much, one process differs from the next that does the same. "
        f"What is said of the whole is decided by {judged}: each figure more would be one more chance of a false alarm."
    )
    return (("Comparison", change),)


def _tick(change: float) -> str:
    return "0" if abs(change) < 1e-9 else signed(1 + change).replace(".0%", "%")
