"""``edgekit status``: what runs on a board, and how it is doing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from edgekit.cli.output import answer, answer_json, size
from edgekit.cli.reaching import board_options, named, reach

if TYPE_CHECKING:
    from device_runtime.contract.status import BoardStatus, ServiceStatus
    from edgekit.boards.health import Health
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget

_JOURNAL_LINES = 3


@click.command()
@board_options
@click.pass_context
def command(ctx: click.Context, place: LocalTarget | SshTarget, scope: str, *, as_json: bool) -> None:
    """Tell what runs on TARGET and how it is doing; the exit code is 1 when it does not do its work.

    TARGET is ssh://user@host, local:DIR, or a name from edgekit.toml; by default the project's only one.

    \b
    edgekit status ssh://pi@board.local
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from edgekit.boards.health import health_of  # noqa: PLC0415 - only this verb's own work needs the rest

    with reach(place, scope) as link:
        status = link.status
    health = health_of(status)
    if as_json:
        answer_json({"target": str(place), "health": health, "status": status})
    else:
        answer(f"{place}: {health.word}" + (f": {'; '.join(health.reasons)}" if health.reasons else ""))
        for title, text in _lines(status, health):
            answer(f"  {title + ':':<10} {text}")
    ctx.exit(0 if health.ok else 1)


def _lines(status: BoardStatus, health: Health) -> Iterator[tuple[str, str]]:
    """Yield what there is to say, each with its title."""
    if status.current:
        since = f", installed {status.current.installed}" if status.current.installed else ""
        yield "runs" if health.ok else "current", named(status.current) + since
    if status.previous:
        yield "previous", named(status.previous)
    if status.service and status.service.kind != "none":
        yield "service", _service(status.service)
    if status.trial:
        back = (
            f"goes back to {status.trial.replaces[:12]}" if status.trial.replaces else "there is nothing to go back to"
        )
        yield "trial", f"release {status.trial.release[:12]} since {status.trial.started}; if it fails, {back}"
    for bad in status.bad:
        yield "failed", f"{bad.at} release {bad.release[:12]}: {bad.reason} ({bad.code})"
    for entry in status.journal[-_JOURNAL_LINES:]:
        of = f" {entry.release[:12]}" if entry.release else ""
        yield "journal", f"{entry.at} {entry.code}{of}" + (f": {entry.message}" if entry.message else "")
    facts = status.facts
    memory = f", {size(facts.memory_bytes)} of memory" if facts.memory_bytes else ""
    what = ", ".join(part for part in (facts.board, facts.machine, facts.python) if part)
    yield "board", what + (f", glibc {facts.glibc}" if facts.glibc else "") + memory
    yield "disk", f"{size(status.free_bytes)} free on {status.root}"
    yield "scope", status.scope + (", takes signed bundles only" if status.signed_only else "")
    if status.busy:
        yield "now", "an installer is at work"


def _service(service: ServiceStatus) -> str:
    words = [f"{service.kind}, {service.state}"]
    if service.restarts:
        words.append(f"{service.restarts} restarts")
    pulse = service.pulse
    if pulse:
        words += [f"for {duration(pulse.uptime_s)}", f"{pulse.fps:.1f} fps"]
        words += [f"p95 {pulse.p95_ms:.0f} ms"] if pulse.p95_ms is not None else []
        words.append(f"{pulse.predictions} predictions")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Return a time for people: ``40 s``, ``12 min``, ``3 h``, ``5 days``."""
    for unit, length, below in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < below * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
