"""``edgekit compare``: two models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import PrepOptions, TaskOptions
from edgekit.cli.options import engine_options, prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress, size, table

if TYPE_CHECKING:
    from edgekit.evaluating.compare import Comparison, SideFacts
    from edgekit.project.locate import LocatedModel

_NAMES = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "map50": "mAP@0.5", "miou": "mean IoU"}


@click.command()
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("two", type=click.Path(path_type=Path))
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Label file of both, one name per line.")
@engine_options
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    one: Path,
    two: Path,
    dataset: Path | None,
    labels: Path | None,
    engine: str | None,
    threads: int | None,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    as_json: bool,
) -> None:
    """Compare the models ONE and TWO (.tflite files or bundles): agreement, accuracy, size, latency, operators.

    DATASET is a data set as for evaluate, or any folder of pictures: agreement needs no labels. Latencies are those of
    this machine; the models run in turns, so that both meet the same load.

    \b
    edgekit compare out/float32.tflite out/belt.tflite images/evaluation
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from contextlib import ExitStack  # noqa: PLC0415 - with the runtime below: it takes 0.2 s to import

    from edgekit.evaluating.compare import Side, compare_models  # noqa: PLC0415
    from edgekit.project.locate import located_model  # noqa: PLC0415

    with ExitStack() as stack:
        found: list[LocatedModel] = [
            stack.enter_context(located_model(path, prep, task, labels)) for path in (one, two)
        ]
        # One engine for both: the first model's own, when nothing is said.
        chosen = found[0].engine(engine, threads)
        events = stack.enter_context(progress())
        sides = [Side(located.model, located.spec, *chosen) for located in found]
        result = compare_models(sides[0], sides[1], dataset, events)
    answer_json(result) if as_json else _show(result)


def _show(result: Comparison) -> None:
    one, two = result.sides
    rows: list[tuple[str, str, str]] = [
        ("size", size(one.size_bytes), size(two.size_bytes)),
        ("latency, median", f"{one.latency_ms:.3g} ms", f"{two.latency_ms:.3g} ms"),
        ("XNNPACK pieces", str(one.partitions.count), str(two.partitions.count)),
        ("operators outside them", str(len(one.partitions.outside)), str(len(two.partitions.outside))),
    ]
    if one.recipe or two.recipe:
        rows.insert(0, ("recipe", one.recipe, two.recipe))
    rows += [(_NAMES.get(name, name), _metric(one, name), _metric(two, name)) for name in one.metrics]
    table(("", one.model, two.model), rows, right=(1, 2))
    operators = [(f"{pair.name} {pair.version}", *(count or "" for count in pair.counts)) for pair in result.operators]
    table(("operator, version", one.name, two.name), operators, right=(1, 2))
    engine = one.partitions
    answer(f"both by {engine.engine} {engine.engine_version} on this machine")
    if result.agreement is not None:
        answer(f"agreement: {result.agreement:.1%} on {result.pictures} pictures")
    elif result.remark:
        answer(f"their answers cannot be held against each other: {result.remark}")
    for item in result.differences:
        answer(f"  {item.picture}: {item.one_says} became {item.two_says}")


def _metric(side: SideFacts, name: str) -> str:
    value = side.metrics[name]
    return f"{value:.4g}" if name == "mae" else f"{value:.2%}"
