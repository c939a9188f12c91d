"""``edgekit explain``: what of a model runs where, what slows it down, and where its accuracy went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import PrepOptions, TaskOptions
from edgekit.cli.options import prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress, size, table

if TYPE_CHECKING:
    from converters.explain import Explanation
    from converters.findings import RuntimeView
    from converters.interface import LayerError

_RUNTIMES = ("litert", "tflite-runtime")
_SHOWN_LAYERS = 20
_SHOWN_OPERATORS = 4


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Its float version: compare the two layer by layer.")
@click.option("--calibration", type=click.Path(path_type=Path), help="Pictures, or tensors, to compare them on.")
@click.option("--samples", type=click.IntRange(min=1), default=16, show_default=True, help="How many of them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which of them.")
@click.option(
    "--runtime", type=click.Choice([*_RUNTIMES, "both"]), default="both", show_default=True, help="Where it has to run."
)
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: Path,
    against: Path | None,
    calibration: Path | None,
    samples: int,
    seed: int,
    runtime: str,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    as_json: bool,
) -> None:
    """Tell what of MODEL (a .tflite file) runs where, what slows it down, and where its accuracy went.

    For each runtime: the operators that it does not have, by name and layer, and in how many pieces XNNPACK takes the
    model on this machine. With --against, how far each layer is from the float version.

    \b
    edgekit explain out/belt.tflite
    edgekit explain out/belt.tflite --against float.tflite --calibration images/calibration
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from converters.explain import ExplainRequest, explain  # noqa: PLC0415 - NumPy and OpenCV take 0.2 s to import

    wanted = _RUNTIMES if runtime == "both" else (runtime,)
    request = ExplainRequest(model, against, calibration, samples, seed, wanted, prep, task)
    with progress() as events:
        found = explain(request, events)
    answer_json(found) if as_json else _show(found)


def _show(found: Explanation) -> None:
    count = sum(operator.count for operator in found.operators)
    answer(f"{found.model}: {size(found.size_bytes)}, {count} operators")
    names = [view.runtime for view in found.runtimes]
    rows = [
        (each.name, each.version, each.count, *("yes" if name in each.runs_on else "no" for name in names))
        for each in found.operators
    ]
    table(("operator", "version", "count", *names), rows, right=(1, 2))
    table(("runtime", "XNNPACK pieces", "operators inside", "outside"), [_view(view) for view in found.runtimes])
    if found.layers:
        _show_layers(found)
    for finding in found.findings:
        answer(f"· {finding.what}\n  {finding.way_out}")
    if not found.findings:
        answer("nothing to mend")


def _view(view: RuntimeView) -> tuple[str, ...]:
    name = f"{view.runtime} {view.version}"
    if view.partitions is None:
        return name, "it does not load" if view.installed else "not installed here", "", ""
    outside = sorted({item.operator for item in view.partitions.outside})
    shown = ", ".join(outside[:_SHOWN_OPERATORS]) + (", …" if len(outside) > _SHOWN_OPERATORS else "")
    more = f" ({shown})" if outside else ""
    return name, str(view.partitions.count), str(view.partitions.inside), f"{len(view.partitions.outside)}{more}"


def _show_layers(found: Explanation) -> None:
    worst = sorted(found.layers, key=_quality)[:_SHOWN_LAYERS]
    rows = [
        (layer.name, layer.operator, f"{layer.snr_db:.1f}", f"{layer.cosine:.4f}")
        for layer in found.layers
        if layer in worst
    ]
    table(("layer", "operator", "SNR dB", "cosine"), rows, right=(2, 3))
    shown = f"the worst {len(rows)} of {len(found.layers)} layers" if len(rows) < len(found.layers) else "all layers"
    kind = "generated samples; real ones tell more: --calibration DIR" if found.generated else "samples"
    answer(f"{shown}, in the order of the graph, on {found.samples} {kind}")


def _quality(layer: LayerError) -> float:
    return layer.snr_db
