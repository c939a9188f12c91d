"""``edgekit remove``: everything of edgekit off a board."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, progress
from edgekit.cli.reaching import board_options, named, reach

if TYPE_CHECKING:
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget


@click.command()
@board_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(place: LocalTarget | SshTarget, scope: str, *, yes: bool, as_json: bool) -> None:
    """Stop the application on TARGET, and remove it with all its releases, its log and the installer.

    TARGET is ssh://user@host, local:DIR, or a name from edgekit.toml; by default the project's only one. What the
    application itself wrote elsewhere stays.

    \b
    edgekit remove ssh://pi@board.local --yes
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from device_runtime.contract.session import Command  # noqa: PLC0415 - only this verb's own work needs the rest
    from device_runtime.errors import UsageError  # noqa: PLC0415
    from edgekit.boards.link import WAIT_S  # noqa: PLC0415

    if not yes and not (sys.stdin.isatty() and not as_json):
        raise UsageError(
            f"{place}: this removes everything that edgekit installed", hint=f"edgekit remove {place} --yes"
        )
    if not yes:
        typed = click.prompt(f"This removes everything that edgekit installed there. Type {place} to go on", err=True)
        if typed != str(place):
            raise UsageError(f"expected {place}, got {typed}; nothing was removed")
    with progress() as events, reach(place, scope) as link:
        gone = link.status.current
        result = link.result(Command("remove", WAIT_S), events)
    if as_json:
        answer_json({"target": str(place), "result": result})
        return
    answer(f"{place}: {named(gone)} was removed" if gone else f"{place}: nothing is installed any more")
