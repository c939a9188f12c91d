"""``edgekit bundle``: a model and all it needs in one file."""

from __future__ import annotations

from pathlib import Path

import click

from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.manifest import ANY
from edgekit.cli.options import prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress, size, table


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: NAME-VERSION.edgekit]")
@click.option("--board", "boards", multiple=True, metavar="ID", help="Kind of board; repeatable.  [default: local]")
@click.option("--name", help="Name of the application.  [default: the project's, or the model's]")
@click.option("--version", "version", help="Its version.  [default: the project's, or 0.1.0]")
@click.option("--golden", type=click.Path(path_type=Path), help="Folder of pictures for the goldens.")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file of a bare model, one name per line.")
@click.option("--wheel", "wheels", multiple=True, type=click.Path(path_type=Path), help="Wheel to add; repeatable.")
@click.option("--sign", type=click.Path(path_type=Path), metavar="KEY", help="SSH key to sign with, private or public.")
@click.option(
    "--sequence", type=click.IntRange(0), help="What later bundles exceed.  [default: signed: the time; else 0]"
)
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: Path | None,
    output: Path | None,
    boards: tuple[str, ...],
    name: str | None,
    version: str | None,
    golden: Path | None,
    labels: Path | None,
    wheels: tuple[Path, ...],
    sign: Path | None,
    sequence: int | None,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    as_json: bool,
) -> None:
    """Pack MODEL (a .tflite file; by default the project's) and all it needs into one file.

    A model that edgekit converted is described by the JSON file beside it. Of any other .tflite file, what its
    tensors and its metadata do not tell comes from the options. The bundle holds the model, its description, what it
    answered to a few pictures (the board checks that it answers the same), the settings of the service, the device
    runtime, and all wheels that the boards need: nothing is downloaded there. Equal inputs give equal bytes.

    \b
    edgekit bundle
    edgekit bundle --board pi5-trixie --board pi4-bookworm --sign ~/.ssh/id_ed25519
    edgekit bundle out/belt.tflite -o belt.edgekit --golden photos/
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.bundling.build import build_bundle  # noqa: PLC0415 - the runtime below takes 0.2 s to import
    from edgekit.bundling.describe import label_of  # noqa: PLC0415
    from edgekit.bundling.request import Wanted, bundle_request  # noqa: PLC0415
    from edgekit.project.locate import located_model  # noqa: PLC0415

    wanted = Wanted(output, boards, name, version, golden, sign, sequence, wheels)
    with located_model(model, prep, task, labels) as located, progress() as events:
        facts = build_bundle(bundle_request(wanted, located), events)
    if as_json:
        answer_json(facts)
        return
    signed = f", signed with {sign}" if sign else ", signed" if facts.signed else ""
    answer(f"{facts.path}: {facts.name} {facts.version}, {size(facts.size)}{signed}")
    for package in facts.packages:
        answer(f"for {package.platform}: release {package.release[:12]}")
    blobs = dict.fromkeys(blob for package in facts.packages for blob in package.blobs)
    table(
        ("blob", "for", "size", "sha256"),
        [(label_of(blob), blob.role, size(blob.size), blob.hex[:12]) for blob in blobs],
        right=(2,),
    )
    answer(f"next: edgekit deploy {facts.path} {_TARGETS[facts.packages[0].compat.machine == ANY]}")


_TARGETS = {True: "local:board", False: "ssh://pi@raspberrypi.local"}
