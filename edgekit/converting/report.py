"""The HTML report of a search: what was tried, what was chosen and why, and where accuracy was lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converters.choice import cost
from converters.interface import Candidate, Interval, LayerError, SearchReport
from converters.recipe_formula import formula_of
from edgekit.converting.figures import LayerChart, Pareto, layer_chart, pareto, written
from edgekit.reporting.axes import UNKNOWN, memory, milliseconds
from edgekit.reporting.metrics import metric_name
from edgekit.reporting.page import Card, Headline, Verdict, count_of, render_page

STATUS = {"ok": "within budget", "missed": "over budget", "refused": "refused", "left-out": "left out"}

_TEMPLATES = Path(__file__).parent / "templates"
_FLOAT = "float32"
_WORST_LAYERS = 12


@dataclass(frozen=True)
class Row:
    """A candidate in the table, in its words; ``latency`` has a text for each runtime."""

    number: int
    name: str
    kind: str
    status: str
    metric: str
    drop: str
    size: str
    latency: tuple[str, ...]
    partitions: str
    snr: str


@dataclass(frozen=True)
class LayerRow:
    """A layer in the table, in its words."""

    name: str
    operator: str
    snr: str
    cosine: str
    guilty: bool


@dataclass(frozen=True)
class View:
    """Everything that the page shows, in its words."""

    title: str
    subtitle: tuple[str, ...]
    verdict: Verdict
    warnings: tuple[str, ...]
    headlines: tuple[Headline, ...]
    metric: str
    pareto: Pareto | None
    latency_columns: tuple[str, ...]
    rows: tuple[Row, ...]
    reasons: tuple[tuple[str, str], ...]
    layers: LayerChart | None
    layer_rows: tuple[LayerRow, ...]
    layer_count: int
    recipes: tuple[tuple[str, str], ...]
    card: Card
    method: tuple[tuple[str, str], ...]


def render(report: SearchReport) -> str:
    """Return the whole page as HTML. Whatever the report says is shown as text, never as markup."""
    return render_page(_TEMPLATES, "search.html.j2", view=view_of(report), not_told=UNKNOWN)


def view_of(report: SearchReport) -> View:
    """Return what the page shows of a report."""
    timed = [each.latency_ms for each in report.candidates if each.latency_ms]
    threads = sorted({count for each in timed for counts in each.values() for count in counts}, key=int)
    return View(
        title=report.source,
        subtitle=(
            f"searched for the {'smallest' if report.options.optimize == 'size' else 'fastest'} model",
            f"within {_points(report.options.max_drop)} of {metric_name(report.metric).lower()}",
            f"on {' and '.join(report.runtimes)}",
        ),
        verdict=judge(report),
        warnings=report.advice,
        headlines=_headlines(report),
        metric=metric_name(report.metric),
        pareto=pareto(report),
        latency_columns=tuple(f"{runtime} ms, {_threads(threads)}" for runtime in report.runtimes if timed),
        rows=tuple(_row(number, each, report, threads) for number, each in enumerate(report.candidates, start=1)),
        reasons=_reasons(report),
        layers=layer_chart(report),
        layer_rows=_layer_rows(report),
        layer_count=len(report.layers),
        recipes=tuple((each.name, _recipe(each)) for each in report.candidates),
        card=_card(report),
        method=_method(report),
    )


def judge(report: SearchReport) -> Verdict:
    """Decide what to think of the result: nothing was found, it was found and confirmed, or found and doubtful."""
    budget = _points(report.options.max_drop)
    if report.chosen is None:
        title = f"No candidate keeps the budget of {budget}"
        nearest = _nearest(report)
        if nearest is None:
            return Verdict("disturbed", title, "None of them could be run. No model was written.")
        told = f"The nearest is {nearest.name}, {_signed(_lost(nearest))} points below the trained model."
        return Verdict("disturbed", title, f"{told} No model was written.")
    confirmed = report.confirmation
    if confirmed is None:
        return Verdict(
            "noted", f"{report.chosen} keeps the budget of {budget}", "It was not tried on held-out samples."
        )
    told = (
        f"On {count_of(confirmed.pictures, 'sample')} that no decision was made with it loses "
        f"{_signed(confirmed.drop.value)} points (95% interval {_range(confirmed.drop)})."
    )
    if not confirmed.enough:
        return Verdict("noted", f"{report.chosen} keeps the budget of {budget}, as far as can be told", told)
    return Verdict("clean", f"{report.chosen} keeps the budget of {budget}", told)


def _headlines(report: SearchReport) -> tuple[Headline, ...]:
    name = metric_name(report.metric)
    trained = f"{100 * report.baseline:.1f}%"
    tried = Headline("Candidates", str(len(report.candidates)), "tried", (("in", f"{report.seconds:.0f} s"),))
    chosen = next((each for each in report.candidates if each.name == report.chosen), None)
    if chosen is None:
        nearest = _nearest(report)
        lost = (
            (Headline("Nearest", _signed(_lost(nearest)), "points lost", (("by", nearest.name),)),) if nearest else ()
        )
        return (Headline(name, trained[:-1], "% trained model"), *lost, tried)
    reference = next((each for each in report.candidates if each.name == _FLOAT), None)
    confirmed = report.confirmation
    metric = confirmed.metric.value if confirmed else chosen.metric or 0.0
    trained = f"{100 * (confirmed.baseline if confirmed else report.baseline):.1f}%"
    drop = confirmed.drop if confirmed else chosen.drop
    found = [Headline(name, f"{100 * metric:.1f}", "%", (("trained model", trained),))]
    if drop is not None:
        found.append(Headline("Lost", _signed(drop.value), "points", (("95%", _range(drop)),)))
    price = cost(chosen, "latency")
    if chosen.latency_ms:
        found.append(Headline("Latency, 1 thread", milliseconds(price), "ms", _against(reference, price, "latency")))
    value, unit = memory(chosen.size_bytes).split()
    found.append(Headline("Size", value, unit, _against(reference, chosen.size_bytes, "size")))
    return (*found, tried)


def _against(reference: Candidate | None, price: float, objective: str) -> tuple[tuple[str, str], ...]:
    """Compare a cost with the float model's, where that was measured too."""
    usual = cost(reference, objective) if reference is not None and reference.latency_ms else 0.0
    if not usual or not price:
        return ()
    return ((f"float32 {written(usual, objective)}", f"{usual / price:.1f}×"),)


def _row(number: int, candidate: Candidate, report: SearchReport, threads: list[str]) -> Row:
    chosen = candidate.name == report.chosen
    drop, snr, split = candidate.drop, candidate.snr_db, candidate.partitions
    return Row(
        number,
        candidate.name,
        "chosen" if chosen else candidate.status,
        "chosen" if chosen else STATUS[candidate.status],
        UNKNOWN if candidate.metric is None else f"{100 * candidate.metric:.2f}%",
        UNKNOWN if drop is None else f"{_signed(drop.value)} ({_range(drop)})",
        memory(candidate.size_bytes) if candidate.size_bytes else UNKNOWN,
        tuple(_latencies(candidate, runtime, threads) for runtime in report.runtimes if threads),
        " / ".join(str(split[runtime]) for runtime in report.runtimes if runtime in split) or UNKNOWN,
        UNKNOWN if snr is None else f"{snr:.1f}",
    )


def _latencies(candidate: Candidate, runtime: str, threads: list[str]) -> str:
    known = candidate.latency_ms.get(runtime, {})
    return (
        " / ".join(milliseconds(known[count]) if count in known else UNKNOWN for count in threads) if known else UNKNOWN
    )


def _reasons(report: SearchReport) -> tuple[tuple[str, str], ...]:
    """Return why candidates cannot be chosen, as far as the table does not show it: what they lost is in there."""
    budget = report.options.max_drop
    return tuple(
        (each.name, each.reason)
        for each in report.candidates
        if each.reason and not (each.status == "missed" and _lost(each) > budget)
    )


def _layer_rows(report: SearchReport) -> tuple[LayerRow, ...]:
    """Return the worst layers, and all that are to blame."""

    def blamed(layer: LayerError) -> bool:
        return layer.title in report.guilty

    worst = sorted(report.layers, key=lambda layer: (not blamed(layer), layer.snr_db))
    return tuple(
        LayerRow(layer.name, layer.operator, f"{layer.snr_db:.1f}", f"{layer.cosine:.4f}", blamed(layer))
        for layer in worst[: max(_WORST_LAYERS, len(report.guilty))]
    )


def _recipe(candidate: Candidate) -> str:
    recipe = candidate.recipe
    parts = [f"{recipe.weights} weights", f"{recipe.activations} activations"]
    if recipe.weight_only:
        parts.append("stored only")
    if recipe.equalise:
        parts.append("equalised")
    if recipe.keep_float:
        parts.append(f"in float: {', '.join(recipe.keep_float)}")
    return f"{recipe.summary} ({', '.join(parts)}): --recipe {formula_of(recipe)}"


def _card(report: SearchReport) -> Card:
    options = report.options
    facts = [
        ("Metric", metric_name(report.metric)),
        ("Budget", _points(options.max_drop)),
        ("Optimised", options.optimize),
        ("Largest size", memory(options.max_bytes) if options.max_bytes else "any"),
        ("Runtimes", ", ".join(report.runtimes)),
        ("Candidates", ", ".join(options.candidates)),
        ("Data set", str(options.evaluation) if options.evaluation else "the calibration samples"),
        ("Time", f"{report.seconds:.0f} s"),
    ]
    return Card("Search", tuple(facts))


def _method(report: SearchReport) -> tuple[tuple[str, str], ...]:
    sizes = report.pictures
    metric = "the share of samples with the trained model's own answer" if report.metric == "agreement" else "labels"
    samples = (
        f"Three sets without a sample in common: {sizes.calibration:,} measured the ranges, {sizes.evaluation:,} "
        f"compared the candidates, {sizes.held_out:,} were held out to confirm the one that was chosen."
    )
    accuracy = (
        f"Each candidate was loaded and run on every declared runtime, and held against {metric}; of several runtimes "
        "the one that loses most counts. What is lost is in points, hundredths of the metric, with its 95% interval "
        "over the samples."
    )
    latency = (
        "The median of the model's invocations alone. Candidates took turns, so that a change of the machine's clock "
        "touches all of them alike."
    )
    frontier = "A candidate is on it when no other one is both at least as accurate and at least as cheap."
    layers = (
        "Each layer's output in the static-int8 model against the same tensor in the float model: 20 dB is an error of "
        "a tenth, 40 dB of a hundredth."
    )
    told = (("Samples", samples), ("Accuracy", accuracy), ("Latency", latency), ("Frontier", frontier))
    return (*told, ("Layers", layers)) if report.layers else told


def _nearest(report: SearchReport) -> Candidate | None:
    return min((each for each in report.candidates if each.drop is not None), key=_lost, default=None)


def _lost(candidate: Candidate) -> float:
    return candidate.drop.value if candidate.drop is not None else float("inf")


def _range(interval: Interval) -> str:
    return f"{_signed(interval.low)} to {_signed(interval.high)}"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")  # noqa: RUF001 - a real minus: a hyphen is too short beside digits


def _threads(counts: list[str]) -> str:
    return f"{' / '.join(counts)} {'thread' if counts == ['1'] else 'threads'}"


def _points(value: float) -> str:
    return f"{value:g} point{'' if value == 1 else 's'}"
