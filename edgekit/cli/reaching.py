"""What the verbs share that speak to a board: which one, its scope, and a conversation with it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from edgekit.cli.output import progress

if TYPE_CHECKING:
    from device_runtime.contract.status import ReleaseInfo
    from edgekit.boards.link import Link
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget

P = ParamSpec("P")
R = TypeVar("R")


def scope_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add ``--scope`` to a command; it gets it as ``scope: str``."""
    return click.option(
        "--scope",
        type=click.Choice(["auto", "system", "user"]),
        default="auto",
        show_default=True,
        help="On a board: a service of the system, or of the login's user; auto takes the system's where it may.",
    )(function)


def board_options(function: Callable[..., R]) -> Callable[..., R]:
    """Add TARGET, ``--target``, ``--scope`` and ``--json``; the command gets ``place``, ``scope`` and ``as_json``."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> R:
        from edgekit.boards.target import find_place  # noqa: PLC0415 - help does without
        from edgekit.project.config import find_project  # noqa: PLC0415

        word, option = values.pop("target"), values.pop("option")
        if word and option and word != option:
            raise click.UsageError(f"two targets: {word} and --target {option}")
        return function(*args, place=find_place(word or option, find_project(Path.cwd())), **values)

    decorated: Any = command
    decorated = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(decorated)
    decorated = scope_option(decorated)
    decorated = click.option("--target", "option", metavar="TARGET", help="The same as the argument.")(decorated)
    return click.argument("target", required=False)(decorated)  # type: ignore[no-any-return] # click's decorators


@contextlib.contextmanager
def reach(place: LocalTarget | SshTarget, scope: str) -> Iterator[Link]:
    """Open a conversation with one board; on a terminal ssh may ask for a password, a touch or an unknown host."""
    from edgekit.boards.link import open_link  # noqa: PLC0415 - help does without
    from edgekit.boards.way import way_to  # noqa: PLC0415

    ask = sys.stdin.isatty()
    with progress() as events, open_link(way_to(place, scope, ask=ask), events=events) as link:
        yield link


def named(release: ReleaseInfo | None) -> str:
    """Return a release in words."""
    return f"{release.name} {release.version} (release {release.release[:12]})" if release else "nothing"
