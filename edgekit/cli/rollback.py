"""``edgekit rollback``: back to the previous release."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.output import answer, answer_json, progress


@click.command()
@click.argument("target", required=False)
@click.option("--target", "option", metavar="TARGET", help="The same as the argument.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(target: str | None, option: str | None, *, as_json: bool) -> None:
    """Return TARGET to its previous release.

    TARGET is local:DIR, or a name from [targets] in edgekit.toml; by default the project's only one. The previous
    release is checked as a new one would be. A second rollback returns to where you were.

    \b
    edgekit rollback local:board
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.boards.link import LocalLink  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.target import find_target  # noqa: PLC0415
    from edgekit.project.config import find_project  # noqa: PLC0415

    found = find_target(target or option, find_project(Path.cwd()))
    with progress() as events:
        result = LocalLink(found).roll_back(events)
    if as_json:
        answer_json({"target": str(found), "result": result})
        return
    if result.current:
        answer(f"{found}: {result.current.name} {result.current.version} runs now")
    if result.previous:
        answer(f"  before: {result.previous.name} {result.previous.version}")
    answer(f"next: edgekit releases {found}")
