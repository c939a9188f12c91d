"""``edgekit bench``: latency, stage by stage, as a table, as JSON and as an HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import PrepOptions, TaskOptions
from edgekit.cli.options import engine_options, model_argument, prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress, table, warn

if TYPE_CHECKING:
    from device_runtime.contract.bench import BenchReport

DEFAULT_SOURCE = "synthetic:pattern"


@click.command()
@model_argument(required=False)
@click.option(
    "--source",
    help=f"camera:0, file:clip.mp4, dir:pictures or synthetic:belt.  [default: the project's, or {DEFAULT_SOURCE}]",
)
@click.option("--duration", type=float, default=10.0, show_default=True, help="Seconds to measure, after the warm-up.")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@engine_options
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (docs/reference/bench-json.md).")
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained HTML report.")
def command(
    model: Path | None,
    source: str | None,
    duration: float,
    labels: Path | None,
    engine: str | None,
    threads: int | None,
    prep: PrepOptions,
    task: TaskOptions,
    html: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure MODEL (a .tflite file or a bundle; by default the project's) in the camera loop.

    The measurement runs in a process of its own. What slowed the machine down, or worked on it, is said.

    \b
    edgekit bench --duration 20 --html out/bench.html
    edgekit bench out/belt.tflite --source dir:images/evaluation --threads 2
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    from contextlib import ExitStack  # noqa: PLC0415 - with the runtime below: it takes 0.2 s to import

    from edgekit.benching.report import render  # noqa: PLC0415
    from edgekit.benching.run import BenchCall, measure  # noqa: PLC0415
    from edgekit.project.locate import located_model  # noqa: PLC0415
    from edgekit.reporting.page import report_file  # noqa: PLC0415

    with ExitStack() as stack:
        # First of all: nobody measures for a minute to learn that the report cannot be written.
        page = stack.enter_context(report_file(html)) if html else None
        located = stack.enter_context(located_model(model, prep, task, labels))
        chosen = source or located.demo_source or DEFAULT_SOURCE
        name, count = located.engine(engine, threads)
        call = BenchCall(located.model, located.spec_path, chosen, duration, count, name)
        with progress() as events:
            report = measure(call, events)
        if page:
            page.write_text(render(report), encoding="utf-8")
    for warning in report.warnings:
        warn(warning)
    if as_json:
        answer_json(report)
    else:
        _show(report, html)


def _show(report: BenchReport, html: Path | None) -> None:
    from edgekit.benching.report import missing_percentiles, stage_rows, waiting  # noqa: PLC0415 - see above
    from edgekit.benching.verdict import judge  # noqa: PLC0415
    from edgekit.reporting.axes import memory  # noqa: PLC0415

    machine, engine = report.before, report.engine
    threads = f"{engine.threads} thread{'s' if engine.threads > 1 else ''}"
    answer(f"{report.model.name} on {machine.board or machine.cpu}, {engine.name} {engine.version}, {threads}")
    rows = [(row.stage, row.mean, row.p50, row.p90, row.p99, row.min, row.max) for row in stage_rows(report)]
    columns = ("ms", "mean", "p50", "p90", "p99", "min", "max")
    table(columns, rows, right=range(1, len(columns)))
    for remark in (waiting(report), missing_percentiles(report)):
        if remark:
            answer(remark)
    answer(
        f"{report.fps:.1f} fps over {report.frames} frames, {report.dropped} dropped; "
        f"first inference {report.first_inference_ms:.1f} ms; peak memory {memory(report.peak_rss_bytes)}"
    )
    answer(judge(report).title)
    if html:
        answer(f"report: {html}")
