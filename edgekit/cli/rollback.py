"""``edgekit rollback``: back to the previous release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, progress
from edgekit.cli.reaching import board_options, reach

if TYPE_CHECKING:
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget


@click.command()
@board_options
def command(place: LocalTarget | SshTarget, scope: str, *, as_json: bool) -> None:
    """Return TARGET to its previous release.

    TARGET is ssh://user@host, local:DIR, or a name from edgekit.toml; by default the project's only one. The previous
    release is checked as a new one would be. A second rollback returns to where you were.

    \b
    edgekit rollback ssh://pi@board.local
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from device_runtime.contract.session import Command  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.link import WAIT_S  # noqa: PLC0415

    with progress() as events, reach(place, scope) as link:
        result = link.result(Command("rollback", WAIT_S), events)
    if as_json:
        answer_json({"target": str(place), "result": result})
        return
    if result.current:
        answer(f"{place}: {result.current.name} {result.current.version} runs now")
    if result.previous:
        answer(f"  before: {result.previous.name} {result.previous.version}")
    answer(f"next: edgekit status {place}")
