"""``edgekit doctor``: what is wrong with this machine, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.environments.catalog import ENVIRONMENTS
from edgekit.cli.output import answer, answer_json, progress

if TYPE_CHECKING:
    from edgekit.doctor.interface import DoctorReport

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--quick", is_flag=True, help="Leave out what takes seconds (TensorFlow).")
@click.option(
    "--prepare",
    "prepared",
    type=click.Choice(tuple(ENVIRONMENTS)),
    multiple=True,
    help="Make this environment now, anew if it is there, and check it alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, quick: bool, prepared: tuple[str, ...], as_json: bool) -> None:
    """Check this machine: every package by using it, disk, cameras, clock.

    Nothing is changed, but what --prepare names: the environments in which ONNX and PyTorch models are read. They are
    made when they are first needed; who will be without a network then makes them before.

    Exits with 0 when nothing failed, and with 1 otherwise; warnings do not count.

    \b
    edgekit doctor
    edgekit doctor --quick --json
    edgekit doctor --prepare onnx --prepare torch
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from converters.environments.make import remake  # noqa: PLC0415 - other commands start without it
    from edgekit.doctor.environments import environment_checks  # noqa: PLC0415
    from edgekit.doctor.host import host_checks  # noqa: PLC0415
    from edgekit.doctor.interface import run_checks  # noqa: PLC0415

    with progress() as events:
        for name in prepared:
            remake(ENVIRONMENTS[name], events)
        checks = (
            environment_checks(prepared) if prepared else (*host_checks(Path.cwd(), quick=quick), *environment_checks())
        )
        report = run_checks(checks, events)
    if as_json:
        answer_json(report)
    else:
        _show(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _show(report: DoctorReport) -> None:
    width = max(len(result.title) for result in report.checks)
    for result in report.checks:
        status = click.style(f"{result.status.value:4}", fg=_COLOURS[result.status.value], bold=True)
        answer(f"{status}  {result.title:{width}}  {result.found}")
        if result.remedy:
            margin = " " * (width + 8)
            answer(f"{margin}expected: {result.expected}")
            answer(f"{margin}mend it:  {result.remedy}")
    count = {name: sum(result.status.value == name for result in report.checks) for name in _COLOURS}
    warnings = f"{count['warn']} warning{'' if count['warn'] == 1 else 's'}"
    answer(f"{len(report.checks)} checks: {count['fail']} failed, {warnings}")
