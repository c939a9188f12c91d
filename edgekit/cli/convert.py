"""``edgekit convert``: a trained model to quantised TFLite, with proof that it is still that model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import ConversionResult, ConvertRequest, ParityReport, PrepOptions, TaskOptions
from device_runtime.errors import UsageError
from edgekit.cli.options import merge, prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress, size, table

if TYPE_CHECKING:
    from edgekit.project.config import Project


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: MODEL.tflite]")
@click.option("--recipe", help="float32, float16, dynamic-int8 or static-int8.  [default: static-int8]")
@click.option("--calibration", type=click.Path(path_type=Path), help="Folder of pictures like those it will see.")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@click.option("--samples", type=click.IntRange(min=1), help="How many of the pictures to use.  [default: 100]")
@click.option("--seed", type=click.IntRange(min=0), help="Which pictures are chosen.  [default: 0]")
@click.option("--input-size", metavar="HEIGHTxWIDTH", help="Size of a model that leaves it open.")
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
    input_size: str | None,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    as_json: bool,
) -> None:
    """Quantise MODEL (.keras or .h5; by default the project's) to TFLite, and prove the result.

    The trained model and the file to be written are run on the same pictures. A result that is not the trained model
    any more is refused, and nothing is written. Beside the model, a JSON file describes it for every other command.

    \b
    edgekit convert
    edgekit convert model.keras --calibration photos/ --labels labels.txt --normalise -1..1
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from converters import convert  # noqa: PLC0415 - imports nothing heavy before it is called
    from edgekit.project.config import load_project  # noqa: PLC0415 - only without MODEL

    project = load_project(Path.cwd()) if model is None else None
    if project is None:
        assert model is not None  # noqa: S101 - load_project raises when there is no project
        request = ConvertRequest(model, output or model.with_suffix(".tflite"), prep=prep, task=task)
    else:
        request = _project_request(project, output, prep, task)
    given = {"recipe": recipe, "calibration": calibration, "labels": labels, "samples": samples, "seed": seed}
    request = _with(request, **given, input_size=_parse_size(input_size))
    with progress() as events:
        result = convert(request, events)
    if as_json:
        answer_json(_document(result))
    else:
        _show(result, in_project=project is not None)


def _project_request(project: Project, output: Path | None, prep: PrepOptions, task: TaskOptions) -> ConvertRequest:
    """Return what the project file asks for; an option replaces what it says."""
    from device_runtime.files import refused  # noqa: PLC0415 - only for projects

    if output is None:
        try:
            project.tflite.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(error, project.tflite.parent, "make the folder") from error
    return ConvertRequest(
        project.source,
        output or project.tflite,
        project.file.model.recipe,
        project.calibration,
        project.labels,
        merge(prep, project.file.prep.options()),
        merge(task, project.file.task),
    )


def _with(request: ConvertRequest, **given: object) -> ConvertRequest:
    return ConvertRequest(**{**vars(request), **{name: value for name, value in given.items() if value is not None}})


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", text)
    if found is None:
        raise UsageError(f'--input-size: expected HEIGHTxWIDTH in pixels, got "{text}"', hint="--input-size 96x96")
    return int(found[1]), int(found[2])


def _document(result: ConversionResult) -> dict[str, object]:
    return {**vars(result), "tflite": str(result.tflite), "spec_path": str(result.spec_path)}


def _show(result: ConversionResult, *, in_project: bool) -> None:
    before, after = size(result.float_bytes), size(result.tflite_bytes)
    answer(f"{result.tflite}: {result.recipe}, described in {result.spec_path.name}")
    answer(f"size       {before} as float32 → {after} ({result.tflite_bytes / result.float_bytes:.0%})")
    for runtime, parity in result.parity.items():
        _show_parity(runtime, parity)
    if result.skipped_pictures:
        answer(f"skipped    {len(result.skipped_pictures)} unreadable: {', '.join(result.skipped_pictures[:5])}")
    answer("next: edgekit bundle" if in_project else f"next: edgekit bundle {result.tflite}")


def _show_parity(runtime: str, parity: ParityReport) -> None:
    samples = "generated samples" if parity.generated else "samples"
    answer(f"agreement  {parity.agreement:.1%} with the trained model on {parity.samples} {samples}, run by {runtime}")
    for output in parity.outputs:
        answer(f"output     {output.name}: {output.snr_db:.1f} dB signal to noise, cosine {output.cosine:.5f}")
    differing = [sample for sample in parity.worst if sample.error > 0]
    if differing:
        answer("where it differs most:")
        table(
            ("sample", "trained model", "converted", "1 - cosine"),
            [(item.picture, item.source_says, item.converted_says, f"{item.error:.1e}") for item in differing],
            right=(3,),
        )
