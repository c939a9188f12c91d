"""``edgekit releases``: what is on a board."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.output import answer, answer_json, size, table


@click.command()
@click.argument("target", required=False)
@click.option("--target", "option", metavar="TARGET", help="The same as the argument.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(target: str | None, option: str | None, *, as_json: bool) -> None:
    """List the releases on TARGET (local:DIR, or a name from edgekit.toml; by default the project's only one).

    \b
    edgekit releases local:board
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.boards.link import LocalLink  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.target import find_target  # noqa: PLC0415
    from edgekit.project.config import find_project  # noqa: PLC0415

    found = find_target(target or option, find_project(Path.cwd()))
    status = LocalLink(found).status()
    if as_json:
        answer_json(status)
        return
    if status.busy:
        answer(f"{found}: another installer is at work")
    if not status.releases:
        answer(f"{found}: no release installed; next: edgekit deploy {found}")
    else:
        rows = [(info.role, info.name, info.version, info.release[:12]) for info in status.releases]
        table(("role", "name", "version", "release"), sorted(rows))
    for bad in status.bad:
        answer(f"failed {bad.at}: release {bad.release[:12]}: {bad.reason} ({bad.code})")
    answer(f"{size(status.free_bytes)} free on {status.root}")
