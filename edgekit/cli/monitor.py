"""``edgekit monitor``: a running application's figures, live."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_line, live_view

if TYPE_CHECKING:
    from device_runtime.contract.live import LiveStatus
    from edgekit.monitoring.follow import Show


@click.command()
@click.argument("target", required=False)
@click.option("--target", "option", metavar="TARGET", help="The same as the argument.")
@click.option("--url", metavar="URL", help="A page's address, as http://127.0.0.1:8080.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="Holds the page's token; or set EDGEKIT_PAGE_TOKEN to the token itself.",
)
@click.option("--page-port", type=click.IntRange(1, 65535), help="The page's port on the board.  [default: 8080]")
@click.option(
    "--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between questions."
)
@click.option("--count", type=click.IntRange(1), help="End after so many answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per answer.")
def command(
    target: str | None,
    option: str | None,
    url: str | None,
    token_file: Path | None,
    page_port: int | None,
    interval: float,
    count: int | None,
    *,
    as_json: bool,
) -> None:
    """Show how a running application is doing: rate, latencies, health, sinks, what it sees.

    TARGET is local:DIR, user@host or ssh://user@host (through a tunnel), a name from edgekit.toml, or a URL. Without
    one it is the project's only target, or http://127.0.0.1:8080. Ctrl-C ends it.

    \b
    edgekit monitor ssh://pi@board.local
    edgekit monitor --json --count 1
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.monitoring.client import PageClient, find_token  # noqa: PLC0415 - only this verb's own work needs the rest
    from edgekit.monitoring.follow import Pace, follow  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        address = _address(stack, url or target or option, page_port)
        client = PageClient(address, find_token(token_file))
        follow(client, Pace(interval, count), _json if as_json else _people(stack))


def _address(stack: contextlib.ExitStack, word: str | None, page_port: int | None) -> str:
    """Return the page's URL; a tunnel to it stays open as long as ``stack``."""
    from edgekit.boards.ssh import SshTarget  # noqa: PLC0415
    from edgekit.boards.target import find_place  # noqa: PLC0415
    from edgekit.monitoring.follow import local_url  # noqa: PLC0415
    from edgekit.monitoring.tunnel import PAGE_PORT, open_tunnel  # noqa: PLC0415
    from edgekit.project.config import find_project  # noqa: PLC0415

    own = f"http://127.0.0.1:{page_port or PAGE_PORT}/"
    if word is not None and word.startswith(("http://", "https://")):
        return word
    project = find_project(Path.cwd())
    if word is None and not (project and project.file.targets):
        return own
    place = find_place(word, project)
    if isinstance(place, SshTarget):
        tunnel = open_tunnel(place, page_port=page_port or PAGE_PORT, ask=sys.stdin.isatty())
        return stack.enter_context(tunnel).url
    return own if page_port else local_url(place)


def _json(status: LiveStatus, notice: str) -> None:
    from device_runtime.contract.prediction import json_line  # noqa: PLC0415

    if not notice:
        answer_line(json_line(status))


def _people(stack: contextlib.ExitStack) -> Show:
    """Return what shows a status: a live screen on a terminal, a line elsewhere."""
    from edgekit.monitoring.view import make_view, one_line  # noqa: PLC0415

    if not sys.stdout.isatty():
        return lambda status, notice: answer(notice or one_line(status))
    screen = stack.enter_context(live_view())

    def show(status: LiveStatus, notice: str) -> None:
        view = make_view(status, notice)
        screen(view.headline, view.tone, view.lines, [(b.title, b.columns, b.rows, b.right) for b in view.blocks])

    return show
