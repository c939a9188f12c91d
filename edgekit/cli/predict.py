"""``edgekit predict``: what a model says of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import PrepOptions, TaskOptions
from edgekit.cli.options import engine_options, model_argument, prep_options, task_options
from edgekit.cli.output import answer, answer_json

if TYPE_CHECKING:
    from device_runtime.contract.prediction import Item


@click.command()
@model_argument()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", type=click.IntRange(min=1), help="Show at most this many classes or objects.")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@engine_options
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: Path,
    images: tuple[Path, ...],
    top: int | None,
    labels: Path | None,
    engine: str | None,
    threads: int | None,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    as_json: bool,
) -> None:
    """Run MODEL (a .tflite file or a bundle) on IMAGES.

    A model that edgekit converted is described by the JSON file beside it. Of any other .tflite file, what its
    tensors and its metadata do not tell comes from the options.

    \b
    edgekit predict out/belt.tflite photo.jpg
    edgekit predict out/belt-0.1.0.edgekit photos/*.jpg --json
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    import dataclasses  # noqa: PLC0415 - the runtime below takes 0.2 s to import

    from device_runtime.contract.decode import encode  # noqa: PLC0415
    from device_runtime.predictor import Predictor  # noqa: PLC0415
    from device_runtime.vision.picture import read_picture  # noqa: PLC0415
    from edgekit.project.locate import located_model  # noqa: PLC0415

    if top is not None:
        task = dataclasses.replace(task, max_items=top)
    with located_model(model, prep, task, labels) as located:
        predictor = Predictor(located.model, located.spec, *located.engine(engine, threads))
        predictions = [(path, predictor.predict(read_picture(path))) for path in images]
    if as_json:
        rows = [
            {
                "file": str(path),
                "items": [
                    {key: value for key, value in encode(item).items() if value is not None}
                    for item in prediction.items
                ],
                "timings_ms": prediction.timings_ms,
            }
            for path, prediction in predictions
        ]
        answer_json({"model": located.spec.name, "predictions": rows})
        return
    for path, prediction in predictions:
        answer(str(path))
        for item in prediction.items:
            answer(f"  {_line(item)}")
            for index, (x, y, score) in enumerate(item.points or ()):
                answer(f"    {score:6.1%}  {located.spec.label_of(index)}  at {x:.0f}, {y:.0f}")
        if not prediction.items:
            answer("  nothing found")


def _line(item: Item) -> str:
    if item.value is not None:
        return f"{item.value:10.5g}  {item.label}"
    if item.area is not None:
        return f"{item.area:6.1%}  {item.label}"
    box = "" if item.box is None else "  at " + ", ".join(f"{value:.0f}" for value in item.box)
    return f"{item.score or 0:6.1%}  {item.label}{box}"
