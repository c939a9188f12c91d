"""``edgekit logs``: what a board's application wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer_json, answer_line, warn
from edgekit.cli.reaching import board_options, reach

if TYPE_CHECKING:
    from device_runtime.contract.events import Event
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget


@click.command()
@board_options
@click.option(
    "-n", "--lines", type=click.IntRange(0, 100_000), default=100, show_default=True, help="Lines to begin with."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come, until Ctrl-C.")
def command(place: LocalTarget | SshTarget, scope: str, lines: int, *, follow: bool, as_json: bool) -> None:
    """Print the log of the application on TARGET.

    TARGET is ssh://user@host, local:DIR, or a name from edgekit.toml; by default the project's only one.

    \b
    edgekit logs ssh://pi@board.local -n 20 -f
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from device_runtime.contract.events import LogLine, Notice  # noqa: PLC0415 - only this verb's own work needs the rest
    from device_runtime.contract.session import Command  # noqa: PLC0415

    if follow and as_json:
        raise click.UsageError("--json prints one document, and --follow has no end: choose one")
    collected: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, LogLine):
            collected.append(event.text) if as_json else answer_line(event.text)
        elif isinstance(event, Notice):
            warn(event.message)

    with reach(place, scope) as link:
        link.ask(Command("logs", lines=lines, follow=follow), hear)
    if as_json:
        answer_json({"target": str(place), "lines": collected})
