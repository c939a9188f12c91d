"""Two runs side by side as HTML: a page of its own, or a part of the later run's report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.bench import CONFIDENCE
from edgekit.benching.cards import NOT_TOLD, moment_of
from edgekit.benching.compare import JUDGED, Comparison, Fact, Figure, Side, signed, title_of
from edgekit.benching.gates import Gate
from edgekit.reporting.axes import Tick, memory, milliseconds, nice_step, percent
from edgekit.reporting.page import Card, Headline, Verdict, render_page, sentence

_TEMPLATES = Path(__file__).parent / "templates"

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

    sentence: str
    rows: tuple[ChangeRow, ...]
    ticks: tuple[Tick, ...]
    zero: float
    noise: tuple[float, float]
    facts: tuple[FactRow, ...]
    differences: tuple[tuple[str, str, str, bool], ...]
    doubts: tuple[str, ...]
    between_runs: str


@dataclass(frozen=True)
class View:
    """Everything that the page shows, in its words."""

    title: str
    subtitle: tuple[str, ...]
    verdict: Verdict
    flag: str
    warnings: tuple[str, ...]
    headlines: tuple[Headline, ...]
    comparison: ComparisonView
    gates: tuple[Gate, ...]
    cards: tuple[Card, ...]
    method: tuple[tuple[str, str], ...]


def render_comparison(comparison: Comparison, gates: Sequence[Gate] = ()) -> str:
    """Return the whole page as HTML. Whatever the comparison says is shown as text, never as markup.

    Args:
        comparison: the two runs.
        gates: what came of the gates that were asked for.
    """
    return render_page(_TEMPLATES, "comparison.html.j2", view=page_of(comparison, gates), not_told=NOT_TOLD)


def page_of(comparison: Comparison, gates: Sequence[Gate] = ()) -> View:
    """Return what the page shows of a comparison."""
    before, after = comparison.before, comparison.after
    verdict, flag = judge(comparison)
    names = after.model if after.model == before.model else f"{before.model} and {after.model}"
    return View(
        title=names,
        subtitle=(_places(before, after), f"{moment_of(before.created)}, then {moment_of(after.created)}"),
        verdict=verdict,
        flag=flag,
        warnings=tuple(sentence(doubt.text) for doubt in comparison.doubts),
        headlines=_headlines(comparison),
        comparison=comparison_view(comparison),
        gates=tuple(gates),
        cards=(_card("Before", before), _card("After", after)),
        method=_method(comparison),
    )


def judge(comparison: Comparison) -> tuple[Verdict, str]:
    """Decide what to think of a comparison, and return it with the word that stands at figures that are no result."""
    title = sentence(title_of(comparison)).removesuffix(".")
    if comparison.word == "unknown":
        return Verdict("disturbed", title, "Nothing can be said of the latencies of these runs."), "no result"
    if comparison.doubts:
        told = (
            "These changes say how the runs differ, and not how the models do. Measure both again, under the same "
            "conditions."
        )
        return Verdict("disturbed", title, told), "in doubt"
    told = {
        "slower": "The second run is slower beyond the noise of both.",
        "faster": "The second run is faster beyond the noise of both.",
        "same": "Whatever difference there is lies within the noise of the two runs.",
        "mixed": "Parts of the second run are slower and parts are faster, beyond the noise of both.",
    }[comparison.word]
    return Verdict("clean" if comparison.word in ("faster", "same") else "noted", title, told), ""


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
        sentence=sentence(title_of(comparison)),
        rows=tuple(_change_row(figure, reach, at) for figure in comparison.figures),
        ticks=tuple(Tick(at(1 + number * step), _tick(number * step)) for number in range(-count, count + 1)),
        zero=at(1.0),
        noise=(at(1 / (1 + noise)), at(1 + noise)),
        facts=tuple(_fact_row(fact) for fact in comparison.facts),
        differences=tuple((each.what, each.before, each.after, each.spoils) for each in comparison.differences),
        doubts=tuple(doubt.text for doubt in comparison.doubts),
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
    return FactRow(
        fact.name, _written(fact, fact.before), _written(fact, fact.after), "" if ratio is None else signed(ratio)
    )


def _written(fact: Fact, value: float) -> str:
    if fact.unit == "bytes":
        return memory(round(value))
    return f"{value:.1f} fps" if fact.unit == "fps" else f"{milliseconds(value)} {fact.unit}"


def _headlines(comparison: Comparison) -> tuple[Headline, ...]:
    names = {"total": "Total latency", "invoke": "Model (invoke)"}
    found = []
    for stage, percentile in JUDGED:
        figure = comparison.figure(stage, percentile)
        if figure is None:
            continue
        ends = figure.interval
        certain = ((f"{100 * CONFIDENCE:.0f}%", f"{signed(ends.low)} to {signed(ends.high)}"),) if ends else ()
        course = (
            ("before", f"{milliseconds(figure.before_ms)} ms"),
            ("after", f"{milliseconds(figure.after_ms)} ms"),
        )
        value = signed(figure.ratio).removesuffix("%")
        found.append(Headline(names.get(stage, stage), value, f"% {percentile}", (*certain, *course)))
    for fact in comparison.facts:
        if fact.name in ("throughput", "peak memory") and fact.ratio is not None:
            course = (("before", _written(fact, fact.before)), ("after", _written(fact, fact.after)))
            found.append(Headline(fact.name.capitalize(), signed(fact.ratio).removesuffix("%"), "%", course))
    return tuple(found)


def _card(title: str, side: Side) -> Card:
    facts = (
        ("Date", moment_of(side.created)),
        ("Model", side.model),
        ("SHA-256", side.sha256),
        ("Engine", side.engine),
        ("Machine", side.machine),
        *((("Target", side.target),) if side.target else ()),
        *((("Release", side.release),) if side.release else ()),
        ("Frames", f"{side.frames:,}"),
        ("Disturbed", "; ".join(side.disturbed) or "no"),
    )
    return Card(title, facts)


def _places(before: Side, after: Side) -> str:
    one, two = (side.target or side.machine for side in (before, after))
    return one if one == two else f"{one}, then {two}"


def _method(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    judged = " and ".join(f"{percentile} of {stage}" for stage, percentile in JUDGED)
    change = (
        "The figure of the second run by that of the first. It is slower or faster where the whole 95% interval of "
        "that ratio lies on one side of no change: two medians alone say nothing."
    )
    interval = (
        "A bootstrap over blocks of neighbouring frames of both runs, widened by "
        f"{100 * comparison.between_runs:g}% to both sides: by that much, one process differs from the next that does "
        "the same."
    )
    whole = f"It is decided by {judged}: each figure more would be one more chance of a false alarm."
    once = "Memory, throughput and starts are known once per run, so that nothing can be said of their chance."
    return (("Change", change), ("Interval", interval), ("The whole", whole), ("Other figures", once))


def _tick(change: float) -> str:
    return "0" if abs(change) < 1e-9 else signed(1 + change).replace(".0%", "%")
