"""``edgekit tunnel``: a board's page on this machine, over SSH."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

import click

from edgekit.cli.output import answer, answer_line


@click.command()
@click.argument("target")
@click.option("--port", type=click.IntRange(1, 65535), help="Port on this machine.  [default: a free one]")
@click.option(
    "--page-port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="The page's port on the board."
)
@click.option("--open", "browse", is_flag=True, help="Open the page in a browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the URL as one line of JSON.")
def command(target: str, port: int | None, page_port: int, *, browse: bool, as_json: bool) -> None:
    """Open TARGET's page on this machine through SSH, until Ctrl-C.

    TARGET is user@host, ssh://user@host:port, or a name from [targets] in edgekit.toml. The page stays closed to the
    board's network, and what it shows travels encrypted.

    \b
    edgekit tunnel ssh://pi@board.local --open
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from device_runtime.contract.prediction import json_line  # noqa: PLC0415 - only this verb's own work needs the rest
    from device_runtime.errors import UsageError  # noqa: PLC0415
    from edgekit.boards.ssh import FORM, SshTarget  # noqa: PLC0415
    from edgekit.boards.target import find_place  # noqa: PLC0415
    from edgekit.monitoring.tunnel import open_tunnel  # noqa: PLC0415
    from edgekit.project.config import find_project  # noqa: PLC0415

    place = find_place(target, find_project(Path.cwd()))
    if not isinstance(place, SshTarget):
        raise UsageError(
            f"{place}: a folder on this machine needs no tunnel; expected {FORM}", hint=f"edgekit monitor {place}"
        )
    with open_tunnel(place, page_port=page_port, port=port or 0, ask=sys.stdin.isatty()) as tunnel:
        if as_json:
            answer_line(json_line({"url": tunnel.url}))
        else:
            answer(f"{place}: {tunnel.url}  (Ctrl-C closes it)")
        if browse:
            webbrowser.open(tunnel.url)
        raise tunnel.wait()
