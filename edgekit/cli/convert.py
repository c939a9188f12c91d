"""``edgekit convert``: a trained model to quantised TFLite, with proof that it is still that model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converters.interface import ConversionResult, ConvertRequest, ParityReport, PrepOptions, TaskOptions
from edgekit.cli.options import merge, prep_options, search_options, source_options, task_options
from edgekit.cli.output import answer, answer_json, progress, size, table

if TYPE_CHECKING:
    from converters.interface import SearchReport
    from device_runtime.contract.events import Events

_RUNTIMES = ("litert", "tflite-runtime")


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write.  [default: MODEL.tflite; MODEL-converted.tflite of a .tflite]",
)
@click.option(
    "--recipe", help="A name or formula (edgekit recipes), a .toml file, or auto to search.  [default: static-int8]"
)
@click.option("--calibration", type=click.Path(path_type=Path), help="Folder of pictures like those it will see.")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@click.option("--samples", type=click.IntRange(min=1), help="How many of the pictures to use.  [default: 100]")
@click.option("--seed", type=click.IntRange(min=0), help="Which pictures are chosen.  [default: 0]")
@click.option("--runtime", type=click.Choice([*_RUNTIMES, "both"]), help="Where it has to run.  [default: litert]")
@click.option("--float-io", is_flag=True, default=None, help="Float inputs and outputs around an integer model.")
@click.option(
    "--keep-float", multiple=True, metavar="PATTERN", help="Operator or layer that stays float, as HARD_SWISH or head*."
)
@search_options
@source_options
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: Path | None,
    output: Path | None,
    recipe: str | None,
    calibration: Path | None,
    labels: Path | None,
    samples: int | None,
    seed: int | None,
    runtime: str | None,
    keep_float: tuple[str, ...],
    search: dict[str, Any],
    source: dict[str, Any],
    prep: PrepOptions,
    task: TaskOptions,
    *,
    float_io: bool | None,
    as_json: bool,
) -> None:
    """Quantise MODEL (by default the project's) to TFLite, and prove the result.

    MODEL is a .keras, .h5, .onnx, .pt2 or .tflite file, a SavedModel folder, or module:function. It and the file to be
    written are run on the same pictures, on every runtime that is named. A result that is not the trained model any
    more is refused, and nothing is written. Beside the model, a JSON file describes it for every other command.

    \b
    edgekit convert
    edgekit convert model.keras --calibration photos/ --labels labels.txt --normalise -1..1
    edgekit convert model.onnx --calibration photos/ --normalise 0..1 --recipe auto --max-drop 1.0
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from converters import convert  # noqa: PLC0415 - imports nothing heavy before it is called
    from converters.errors import BudgetMissedError  # noqa: PLC0415 - as above
    from edgekit.converting.request import project_request  # noqa: PLC0415 - only without MODEL
    from edgekit.project.config import load_project  # noqa: PLC0415 - as above

    project = load_project(Path.cwd()) if model is None else None
    if project is None:
        assert model is not None  # noqa: S101 - load_project raises when there is no project
        request = ConvertRequest(model, output or _default_output(model), prep=prep, task=task)
    else:
        request = project_request(
            project, output, merge(prep, project.file.prep.options()), merge(task, project.file.task)
        )
    request = _with(
        request,
        recipe=recipe,
        calibration=calibration,
        labels=labels,
        samples=samples,
        seed=seed,
        runtimes=None if runtime is None else _RUNTIMES if runtime == "both" else (runtime,),
        float_io=float_io,
        keep_float=keep_float or None,
        search=dataclasses.replace(request.search, **search),
        **source,
    )
    with progress() as events:
        try:
            result = convert(request, events)
        except BudgetMissedError as error:
            _write_reports(request.output, error.report, events)
            raise
        _write_reports(request.output, result.search, events)
    if as_json:
        answer_json(_document(result))
    else:
        _show(result, in_project=project is not None)


def _default_output(model: Path) -> Path:
    """Return where a model goes: beside a file or folder, or into the current folder for a function's."""
    if ":" in model.name:
        return Path(model.name.partition(":")[2]).with_suffix(".tflite")
    return (
        model.with_name(f"{model.stem}-converted.tflite") if model.suffix == ".tflite" else model.with_suffix(".tflite")
    )


def _with(request: ConvertRequest, **given: Any) -> ConvertRequest:
    return dataclasses.replace(request, **{name: value for name, value in given.items() if value is not None})


def _write_reports(output: Path, report: SearchReport | None, events: Events) -> None:
    """Write all that a search tried beside the model: ``MODEL.search.json`` and ``MODEL.search.html``."""
    if report is None:
        return
    from device_runtime.contract.decode import dumps  # noqa: PLC0415 - only after a search
    from device_runtime.contract.events import Notice  # noqa: PLC0415
    from device_runtime.files import write_text  # noqa: PLC0415
    from edgekit.converting.report import render  # noqa: PLC0415

    page = output.with_suffix(".search.html")
    write_text(output.with_suffix(".search.json"), dumps(report))
    write_text(page, render(report))
    events(Notice(f"all that was tried: {page}"))


def _document(result: ConversionResult) -> dict[str, object]:
    return {**vars(result), "tflite": str(result.tflite), "spec_path": str(result.spec_path)}


def _show(result: ConversionResult, *, in_project: bool) -> None:
    before, after = size(result.float_bytes), size(result.tflite_bytes)
    answer(f"{result.tflite}: {result.recipe}, described in {result.spec_path.name}")
    answer(f"size       {before} as float32 → {after} ({result.tflite_bytes / result.float_bytes:.0%})")
    if result.search is not None:
        _show_search(result.search)
    for runtime, parity in result.parity.items():
        _show_parity(runtime, parity)
    if result.skipped_pictures:
        answer(f"skipped    {len(result.skipped_pictures)} unreadable: {', '.join(result.skipped_pictures[:5])}")
    answer("next: edgekit bundle" if in_project else f"next: edgekit bundle {result.tflite}")


def _show_search(report: SearchReport) -> None:
    chosen = next(each for each in report.candidates if each.name == report.chosen)
    times = "; ".join(f"{threads['1']:.2f} ms on {runtime}" for runtime, threads in chosen.latency_ms.items())
    answer(f"chosen     {chosen.name} of {len(report.candidates)} candidates in {report.seconds:.0f} s: {times}, here")
    found = report.confirmation
    if found is not None:
        drop = found.drop
        answer(
            f"{report.metric:10} {found.metric.value:.4f} on {found.pictures} held-out samples, the trained model "
            f"{found.baseline:.4f}: {drop.value:.2f} points lost ({drop.low:.2f} to {drop.high:.2f}, 95% confidence)"
        )
    for sentence in report.advice:
        answer(f"note       {sentence}")


def _show_parity(runtime: str, parity: ParityReport) -> None:
    samples = "generated samples" if parity.generated else "samples"
    answer(f"agreement  {parity.agreement:.1%} with the trained model on {parity.samples} {samples}, run by {runtime}")
    for output in parity.outputs:
        answer(f"output     {output.name}: {output.snr_db:.1f} dB signal to noise, cosine {output.cosine:.5f}")
    differing = [sample for sample in parity.worst if sample.error > 0]
    if differing:
        answer("where it differs most:")
        table(
            ("sample", "trained model", "converted", "difference"),
            [(item.picture, item.source_says, item.converted_says, f"{item.error:.1e}") for item in differing],
            right=(3,),
        )
