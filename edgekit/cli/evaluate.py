"""``edgekit evaluate``: a model's accuracy on labelled pictures."""

from __future__ import annotations

from pathlib import Path

import click

from converters.interface import PrepOptions, TaskOptions
from edgekit.cli.options import engine_options, model_argument, prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress, table

_NAMES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "map50": "mAP@0.5",
    "miou": "mean IoU",
    "mae": "mean absolute error",
}
_COLUMNS = {
    "classification": ("class", "pictures", "accuracy"),
    "detection": ("class", "objects", "AP@0.5"),
    "segmentation": ("class", "pictures", "IoU"),
    "regression": ("value", "pictures", "mean absolute error"),
}


@click.command()
@model_argument()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@engine_options
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: Path,
    dataset: Path,
    labels: Path | None,
    engine: str | None,
    threads: int | None,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    as_json: bool,
) -> None:
    """Measure the accuracy of MODEL (a .tflite file or a bundle) on DATASET.

    DATASET is a folder with one folder per class, or a labels.csv (or a folder with one) with the columns file,label;
    for a detector file,label,x1,y1,x2,y2 with one row per object, boxes in pixels; for a segmenter file,mask, with
    pictures of class ids (255: no class); for a regressor file,value.

    \b
    edgekit evaluate out/digits.tflite images/evaluation
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from converters.datasets import read_dataset  # noqa: PLC0415 - the runtime takes 0.2 s to import
    from device_runtime.contract.decode import encode  # noqa: PLC0415
    from edgekit.evaluating.evaluate import evaluate  # noqa: PLC0415
    from edgekit.project.locate import located_model  # noqa: PLC0415

    with located_model(model, prep, task, labels) as located, progress() as events:
        chosen = located.engine(engine, threads)
        result = evaluate(located.model, located.spec, read_dataset(dataset), events, *chosen)
    if as_json:
        answer_json({"model": located.spec.name, "dataset": str(dataset), **encode(result)})
        return
    style = ".4g" if result.task == "regression" else ".1%"
    rows = [(row.label, row.samples, "–" if row.value is None else f"{row.value:{style}}") for row in result.per_class]
    table(_COLUMNS[result.task], rows, right=(1, 2))
    for name, figure in result.metrics.items():
        shown = f"{figure:.4g}" if result.task == "regression" else f"{figure:.2%}"
        answer(f"{_NAMES[name]}: {shown} on {result.pictures} pictures")
    if result.skipped:
        answer(f"skipped: {len(result.skipped)} pictures that cannot be read")
