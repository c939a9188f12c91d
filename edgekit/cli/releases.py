"""``edgekit releases``: what is on a board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, size, table
from edgekit.cli.reaching import board_options, reach

if TYPE_CHECKING:
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget


@click.command()
@board_options
def command(place: LocalTarget | SshTarget, scope: str, *, as_json: bool) -> None:
    """List the releases on TARGET, and those that failed there, with the reason.

    TARGET is ssh://user@host, local:DIR, or a name from edgekit.toml; by default the project's only one.

    \b
    edgekit releases ssh://pi@board.local
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    with reach(place, scope) as link:
        status = link.status
    if as_json:
        answer_json(status)
        return
    if status.busy:
        answer(f"{place}: another installer is at work")
    if not status.releases:
        answer(f"{place}: no release installed; next: edgekit deploy {place}")
    else:
        rows = [
            (info.role, info.name, info.version, info.release[:12], info.installed or "-") for info in status.releases
        ]
        table(("role", "name", "version", "release", "installed"), sorted(rows))
    for bad in status.bad:
        answer(f"failed {bad.at}: release {bad.release[:12]}: {bad.reason} ({bad.code})")
    if status.journal:
        last = status.journal[-1]
        answer(f"last: {last.at} {last.code}" + (f": {last.message}" if last.message else ""))
    answer(f"{size(status.free_bytes)} free on {status.root}")
