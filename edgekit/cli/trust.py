"""``edgekit trust``: whose bundles a board takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, progress
from edgekit.cli.reaching import board_options, reach

if TYPE_CHECKING:
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget


@click.command()
@click.argument("signers", metavar="FILE", type=click.Path(path_type=Path))
@board_options
def command(signers: Path, place: LocalTarget | SshTarget, scope: str, *, as_json: bool) -> None:
    """Let TARGET take nothing but bundles that the signers in FILE signed.

    FILE is an allowed_signers file as ssh-keygen(1) describes it: a name and a public key on each line. From then on
    unsigned, altered and older bundles are refused. Once it is there, another file has to be put in its place on the
    board itself, so that whoever takes over this machine cannot do it.

    \b
    edgekit trust allowed_signers ssh://pi@board.local
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from device_runtime.contract.session import Command  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.link import WAIT_S  # noqa: PLC0415
    from edgekit.boards.signers import read_signers  # noqa: PLC0415

    text = read_signers(signers)
    with progress() as events, reach(place, scope) as link:
        result = link.result(Command("trust", WAIT_S, text=text), events)
    if as_json:
        answer_json({"target": str(place), "result": result})
    else:
        answer(f"{place}: takes nothing but what was signed by those in {signers}")
