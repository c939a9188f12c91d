"""The terminal: progress on stderr, the answer on stdout, tables and colours. The only importer of rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Event, Events, LogLine, Notice, Progress, Step

if TYPE_CHECKING:
    from rich.table import Table

    from device_runtime.contract.reported import ReportedError

_REFRESH_S = 0.1

TableRows = tuple[str, Sequence[str], Sequence[Sequence[object]], Sequence[int]]
"""A table: its title, columns, rows, and the indices of the columns that are right-aligned."""


@contextmanager
def progress() -> Iterator[Events]:
    """Show a job's events on stderr while it runs: a live line on a terminal, plain lines in a file."""
    subscriber = _Terminal() if sys.stderr.isatty() else _Log()
    try:
        yield subscriber
    finally:
        subscriber.close()


def answer(text: str) -> None:
    """Print a command's answer for people to stdout."""
    click.echo(text)


def answer_json(value: object) -> None:
    """Print a command's answer as stdout's one JSON document."""
    click.echo(dumps(value), nl=False)


def answer_line(line: str) -> None:
    """Print one line of a command that answers with JSON lines; it is there at once, for who reads along."""
    click.echo(line)
    sys.stdout.flush()


def warn(message: str) -> None:
    """Print a warning to stderr."""
    click.echo(click.style("warning: ", fg="yellow") + message, err=True)


def problem(error: ReportedError) -> None:
    """Print an error to stderr: what a command that ends with its answer has to say beside it."""
    click.echo(click.style("error: ", fg="red") + error.message, err=True)
    for line in error.hint.splitlines():
        click.echo(f"hint: {line}", err=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> None:
    """Print a table to stdout; the columns with the indices in ``right`` are right-aligned."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms, only for those who print a table

    width = None if sys.stdout.isatty() else 160
    Console(highlight=False, markup=False, width=width).print(_table(columns, rows, right))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int], title: str = "") -> Table:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    view = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", title_justify="left")
    if title:
        view.title, view.show_edge = Text(title, "bold"), False
    for index, column in enumerate(columns):
        view.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        view.add_row(*[Text(str(cell)) for cell in row])
    return view


class Screen(Protocol):
    """Shows a whole new content: a headline and its tone (good, wait, bad), lines, and tables."""

    def __call__(self, headline: str, tone: str, lines: Sequence[str], tables: Sequence[TableRows]) -> None:
        """Replace what is shown."""


@contextmanager
def live_view() -> Iterator[Screen]:
    """Show content on stdout's terminal that changes in place; the last one stays when it ends."""
    from rich.columns import Columns  # noqa: PLC0415 - only for those who look
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    colours = {"good": "bold green", "wait": "bold yellow", "bad": "bold red"}
    console = Console(highlight=False, markup=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:

        def show(headline: str, tone: str, lines: Sequence[str], tables: Sequence[TableRows]) -> None:
            parts = [Text(headline, colours[tone]), *(Text(line, no_wrap=True, overflow="crop") for line in lines)]
            grid = [
                Padding(_table(columns, rows, right, title), (1, 3, 0, 0)) for title, columns, rows, right in tables
            ]
            live.update(Group(*parts, Columns(grid)), refresh=True)

        yield show


def size(count: int) -> str:
    """Return a number of bytes for people: ``402 KB``, ``3.9 MB`` (powers of 1000, as disks are sold)."""
    if count < 1000:
        return f"{count} B"
    for unit, factor in (("KB", 1e3), ("MB", 1e6)):
        if count < 1000 * factor:
            value = count / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{count / 1e9:.2f} GB"


class _Log:
    """Events as plain lines; progress is left out."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            click.echo(f"· {event.title}", err=True)
        elif not isinstance(event, Progress):
            _notice(event)

    def close(self) -> None:
        """Nothing is left open."""


class _Terminal:
    """Events as lines, with one live line for the progress of the current step."""

    def __init__(self) -> None:
        self._live = False
        self._shown_at = 0.0
        self._step_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._show(event)
            return
        self._clear()
        if isinstance(event, Step):
            self._step_at = time.monotonic()
            click.echo(click.style("· ", fg="cyan") + event.title, err=True)
        else:
            _notice(event)

    def close(self) -> None:
        """Remove the live line."""
        self._clear()

    def _show(self, event: Progress) -> None:
        now = time.monotonic()
        if now - self._shown_at < _REFRESH_S:
            return
        self._shown_at = now
        click.echo(f"\r\x1b[2K  {_done(event, now - self._step_at)}", nl=False, err=True)
        self._live = True

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[2K", nl=False, err=True)
            self._live = False


def _done(event: Progress, elapsed_s: float) -> str:
    """Return how far a step is; of bytes also how fast they come."""
    if event.unit == "bytes":
        of = f" of {size(event.total)}" if event.total is not None else ""
        return f"{size(event.done)}{of}, {size(int(event.done / max(elapsed_s, 0.1)))}/s"
    of = f" of {event.total}" if event.total is not None else ""
    return f"{event.done}{of} {event.unit}"


def _notice(event: Notice | LogLine) -> None:
    if isinstance(event, LogLine):
        click.echo(f"  | {event.text}", err=True)
    elif event.severity == "warning":
        warn(event.message)
    else:
        click.echo(f"  {event.message}", err=True)
