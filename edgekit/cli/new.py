"""``edgekit new``: a project folder with a sample model and pictures."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from edgekit.cli.output import answer, answer_json, progress, size


@click.command()
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option(
    "--sample",
    required=True,
    type=click.Choice(["digits", "belt"]),
    help="digits: handwritten digits to classify. belt: parts on a conveyor belt to detect.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(folder: Path, sample: str, *, as_json: bool) -> None:
    """Make the project folder NAME with a trained model, pictures and an edgekit.toml.

    The pictures are made on this machine: some to calibrate the quantised model with, and labelled ones that neither
    training nor calibration have seen. A folder that exists must be empty.

    \b
    edgekit new my-app --sample belt
    cd my-app && edgekit convert
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.project.samples import new_project  # noqa: PLC0415 - numpy and Pillow take 0.1 s to import

    with progress() as events:
        made = new_project(folder, sample, events)
    following = (f"cd {shlex.quote(str(folder))}", "edgekit convert")
    if as_json:
        answer_json(
            {
                "name": made.name,
                "sample": made.sample,
                "folder": str(made.folder),
                "model": str(made.model),
                "calibration_pictures": made.calibration_pictures,
                "evaluation_pictures": made.evaluation_pictures,
                "next": following,
            }
        )
        return
    answer(f"{folder}: a project from the sample {sample}")
    answer("  edgekit.toml        what edgekit does with it; every value is explained there")
    answer(f"  {made.model.name:<19} the trained model, {size(made.model.stat().st_size)}")
    answer(f"  images/calibration  {made.calibration_pictures} pictures to quantise with")
    answer(f"  images/evaluation   {made.evaluation_pictures} labelled pictures to measure with")
    answer("  train.py            what trained the model; README.md tells about it")
    answer(f"next: {' && '.join(following)}")
