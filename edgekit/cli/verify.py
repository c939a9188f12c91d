"""``edgekit verify``: every byte of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.output import answer, answer_json, progress, size


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(bundle: Path, *, as_json: bool) -> None:
    """Check every byte of BUNDLE: digests, sizes, names, and that what it holds can be understood.

    \b
    edgekit verify out/belt-0.1.0.edgekit
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.bundling.verify import verify_bundle  # noqa: PLC0415 - the runtime below takes 0.2 s to import

    with progress() as events:
        facts = verify_bundle(bundle, events)
    if as_json:
        answer_json({"ok": True, "bundle": facts})
        return
    blobs = {blob.digest for package in facts.packages for blob in package.blobs}
    answer(
        f"ok: {facts.path}: {facts.name} {facts.version}, {len(blobs)} blobs, {size(facts.size)}, every byte checked"
    )
