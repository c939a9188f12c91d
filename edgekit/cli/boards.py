"""``edgekit boards``: what bundles can be made for."""

from __future__ import annotations

import click

from edgekit.cli.output import answer, answer_json, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, as_json: bool) -> None:
    """List the kinds of boards that edgekit bundle --board knows: what they run, and what a bundle brings.

    Boards of the same system take the same bundle; name all that yours are.

    \b
    edgekit boards
    edgekit bundle --board pi5-trixie --board pi4-bookworm
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from device_runtime.contract.decode import encode  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.boards.catalog import load_catalog  # noqa: PLC0415

    boards = load_catalog().values()
    if as_json:
        answer_json({"boards": [encode(board) for board in boards]})
        return
    rows = [
        (
            board.id,
            board.title,
            board.system,
            board.machine,
            board.python,
            board.engine or "its own",
            f"{board.memory_bytes >> 20} MiB" if board.memory_bytes else "",
            "all packages"
            if board.packages == "present"
            else ", ".join(item.package for item in board.system_packages),
        )
        for board in boards
    ]
    table(("board", "is", "with", "machine", "python", "engine", "memory", "must have"), rows, right=(6,))
    answer("memory is the least that such a board has; what a board must have is not in the bundle")
