"""The HTML report of a sweep: what was tried, what came of it, and which setting to take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.bench import CONFIDENCE, BenchReport
from edgekit.benching.cards import NOT_TOLD, interval_in_words, machine_of, moment_of
from edgekit.benching.figures import Bar
from edgekit.benching.recommend import accuracy_in_words, ends_of
from edgekit.benching.sweep_figures import Plot, latency_bars, plots_of
from edgekit.benching.sweep_report import SweepPoint, SweepReport
from edgekit.reporting.axes import UNKNOWN, memory, milliseconds
from edgekit.reporting.metrics import metric_name
from edgekit.reporting.page import Card, Headline, Verdict, count_of, listed, render_page, sentence

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Row:
    """A point in the table, in its words; intervals are empty where they are not known."""

    number: int
    name: str
    kind: str
    result: str
    p50: str
    p50_interval: str
    p95: str
    p95_interval: str
    accuracy: str
    accuracy_interval: str
    size: str
    frames: str


@dataclass(frozen=True)
class View:
    """Everything that the page shows, in its words."""

    title: str
    subtitle: tuple[str, ...]
    verdict: Verdict
    flag: str
    warnings: tuple[str, ...]
    headlines: tuple[Headline, ...]
    plots: tuple[Plot, ...]
    bars: tuple[Bar, ...]
    stage: str
    metric: str
    rows: tuple[Row, ...]
    intervals: bool
    reasons: tuple[tuple[str, str], ...]
    card: Card
    machine: Card | None
    method: tuple[tuple[str, str], ...]


def render_sweep(report: SweepReport) -> str:
    """Return the whole page as HTML. Whatever the report says is shown as text, never as markup."""
    return render_page(_TEMPLATES, "sweep.html.j2", view=view_of(report), not_told=NOT_TOLD)


def view_of(report: SweepReport) -> View:
    """Return what the page shows of a report."""
    verdict, flag = judge(report)
    metric = next((metric_name(point.accuracy.metric) for point in report.points if point.accuracy), "")
    rows = tuple(_row(report, point) for point in report.points)
    run = _run(report)
    varied = listed([f"{axis.name} ({', '.join(axis.values)})" for axis in report.axes])
    where = (run.before.board or run.before.cpu) if run else ""
    places = (f"{report.target} ({where})" if report.target and where else report.target or where,)
    return View(
        title=report.model,
        subtitle=(f"sweep over {varied}", *(place for place in places if place), moment_of(report.created)),
        verdict=verdict,
        flag=flag,
        warnings=report.warnings,
        headlines=_headlines(report),
        plots=(plots := plots_of(report)),
        bars=() if plots else latency_bars(report),
        stage=report.stage,
        metric=metric,
        rows=rows,
        intervals=any(row.p50_interval or row.p95_interval or row.accuracy_interval for row in rows),
        reasons=_reasons(report),
        card=_card(report),
        machine=machine_of(run) if run else None,
        method=_method(report),
    )


def judge(report: SweepReport) -> tuple[Verdict, str]:
    """Decide what to think of the result, and return it with the word that stands at figures that are no result."""
    chosen = _chosen(report)
    if chosen is None or report.recommended is None:
        told = "No point of the sweep could be measured." if report.points else "The sweep has no points."
        return Verdict("disturbed", "No setting can be recommended", told), "no result"
    title, reason = f"Take {report.label(chosen)}", sentence(report.recommended.reason)
    run = _run(report)
    if run is not None and run.before.emulated:
        told = f"{reason} But this machine is emulated by {run.before.emulated}: its times mean nothing."
        return Verdict("disturbed", "Emulated machine: its times mean nothing", told), "emulated"
    if chosen.disturbed:
        told = reason if "disturbed" in reason else f"{reason} But its own runs were disturbed."
        return Verdict("disturbed", f"In doubt: {report.label(chosen)}", told), "disturbed"
    if not report.complete:
        return Verdict(
            "noted", f"{title}, as far as was measured", f"{reason} The sweep was stopped before its end."
        ), ""
    troubled = [point for point in report.points if point.disturbed or point.error]
    if report.warnings or troubled:
        beside = f" {count_of(len(troubled), 'other point')} could not be judged." if troubled else ""
        return Verdict("noted", title, f"{reason}{beside}"), ""
    return Verdict("clean", title, reason), ""


def _headlines(report: SweepReport) -> tuple[Headline, ...]:
    chosen = _chosen(report)
    tried = Headline("Settings", str(len(report.points)), "tried", (("rounds", str(report.rounds)),))
    if chosen is None or chosen.latency is None:
        return (tried,)
    latency = chosen.latency
    percentile = f"{100 * CONFIDENCE:.0f}%"
    details = [(percentile, ends)] if (ends := interval_in_words(latency.p50_interval)) else []
    details += [("p95", milliseconds(latency.p95))] if latency.p95 is not None else []
    found = [Headline(f"Latency ({report.stage})", milliseconds(latency.p50), "ms p50", tuple(details))]
    if chosen.accuracy:
        value = accuracy_in_words(chosen.accuracy)
        share = value.endswith("%")
        ends = _interval_of_accuracy(chosen)
        certain = ((percentile, ends),) if ends else ()
        pictures = (("pictures", f"{chosen.accuracy.pictures:,}"),)
        found.append(
            Headline(
                metric_name(chosen.accuracy.metric),
                value.removesuffix("%"),
                "%" if share else "",
                (*certain, *pictures),
            )
        )
    if chosen.model:
        number, unit = memory(chosen.model.size_bytes).split()
        found.append(Headline("Size", number, unit))
    return (*found, tried)


def _row(report: SweepReport, point: SweepPoint) -> Row:
    latency, accuracy = point.latency, point.accuracy
    kind, result = _result(report, point)
    return Row(
        point.number,
        report.label(point),
        kind,
        result,
        UNKNOWN if latency is None else milliseconds(latency.p50),
        "" if latency is None else interval_in_words(latency.p50_interval),
        UNKNOWN if latency is None or latency.p95 is None else milliseconds(latency.p95),
        "" if latency is None else interval_in_words(latency.p95_interval),
        UNKNOWN if accuracy is None else accuracy_in_words(accuracy),
        _interval_of_accuracy(point),
        UNKNOWN if point.model is None else memory(point.model.size_bytes),
        UNKNOWN if latency is None else f"{latency.frames:,}",
    )


def _result(report: SweepReport, point: SweepPoint) -> tuple[str, str]:
    if report.recommended and point.number == report.recommended.point:
        return "chosen", "recommended, disturbed" if point.disturbed else "recommended"
    if point.latency is None:
        return "failed", "failed" if point.error else "not measured"
    if point.error:
        return "failed", "failed later"
    if point.disturbed:
        return "doubtful", "disturbed"
    if point.on_front:
        return "front", "on the front"
    if point.dominated_by:
        return "beaten", f"beaten by {listed([str(number) for number in point.dominated_by[:3]])}"
    return "beaten", "not compared"


def _reasons(report: SweepReport) -> tuple[tuple[str, str], ...]:
    """Say why points cannot be judged."""
    found = []
    for point in report.points:
        if point.error:
            hint = f" ({point.error.hint})" if point.error.hint else ""
            found.append((f"{point.number}: {report.label(point)}", f"{point.error.message}{hint}"))
        if point.disturbed:
            found.append((f"{point.number}: {report.label(point)}", "; ".join(point.disturbed)))
    return tuple(found)


def _card(report: SweepReport) -> Card:
    engines = sorted({f"{each.engine.name} {each.engine.version}" for point in report.points for each in point.runs})
    facts = (
        *(((axis.name.capitalize()), ", ".join(axis.values)) for axis in report.axes),
        *((("Engine ran", ", ".join(engines)),) if engines else ()),
        ("Source", report.source),
        ("Data set", report.dataset or "none: accuracy was not measured"),
        ("Judged by", f"{report.percentile} of {report.stage}"),
        *((("Budget", f"{_points(report.max_drop)} of accuracy below the best"),) if report.dataset else ()),
        ("Each point", f"{report.duration_s:g} s in {count_of(report.rounds, 'round')}"),
        ("Order", f"drawn by lot in each round, seed {report.seed}"),
    )
    return Card("Sweep", facts)


def _points(value: float) -> str:
    return f"{value:g} point{'' if value == 1 else 's'}"


def _method(report: SweepReport) -> tuple[tuple[str, str], ...]:
    stage = (
        "What a frame costs: prepare, invoke and decode together, without capturing it and without its waiting."
        if report.stage == "work"
        else f"The stage {report.stage} of the camera loop."
    )
    turns = (
        "All settings take turns, in an order drawn by lot in each round, each in a process of its own: what the "
        "machine does meanwhile meets all of them alike."
    )
    certain = (
        "How far the rounds of a point agree, with 95% confidence; of accuracy, what the number of pictures allows."
    )
    front = (
        "A point is on it when no other one is at least as good in everything and better beyond the noise in "
        "something: in latency, in size, and in accuracy where that was measured."
    )
    line = "In a plot the line joins the points that no other one beats in the two things that the plot shows."
    return (("Latency", stage), ("Turns", turns), ("Intervals", certain), ("The front", front), ("The line", line))


def _chosen(report: SweepReport) -> SweepPoint | None:
    return report.point(report.recommended.point) if report.recommended else None


def _run(report: SweepReport) -> BenchReport | None:
    """Return a run that tells of the machine: one of the recommended point, or else any."""
    chosen = _chosen(report)
    points = [*([chosen] if chosen else []), *report.points]
    return next((run for point in points for run in point.runs), None)


def _interval_of_accuracy(point: SweepPoint) -> str:
    ends = ends_of(point.accuracy) if point.accuracy else ""
    return f"{ends}%" if ends and point.accuracy and point.accuracy.higher_is_better else ends
