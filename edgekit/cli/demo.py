"""``edgekit demo``: a model on a camera, a video or pictures, with what it finds drawn in."""

from __future__ import annotations

from pathlib import Path

import click

from converters.interface import PrepOptions, TaskOptions
from edgekit.cli.options import WORKERS, engine_options, model_argument, prep_options, task_options
from edgekit.cli.output import answer, answer_json, progress


@click.command()
@model_argument(required=False)
@click.option("--source", help="camera:0, rtsp://…, file:clip.mp4, dir:pictures or synthetic:belt.")
@click.option("--frames", type=click.IntRange(min=1), help="End after so many frames; drawn scenes have no end.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the annotated video (.mp4, .avi, .mkv).")
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@click.option("--page", metavar="[HOST:]PORT", help="Serve the live page, as at http://127.0.0.1:8080 for 8080.")
@click.option("--workers", type=WORKERS, help="Frames at the same time, or auto.  [default: auto]")
@click.option("--track", is_flag=True, help="Give objects numbers that they keep from frame to frame.")
@engine_options
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: Path | None,
    source: str | None,
    frames: int | None,
    save: Path | None,
    labels: Path | None,
    page: str | None,
    workers: int | None,
    engine: str | None,
    threads: int | None,
    prep: PrepOptions,
    task: TaskOptions,
    *,
    track: bool,
    as_json: bool,
) -> None:
    """Run MODEL (a .tflite file or a bundle; by default the project's) on frames, and draw what it finds.

    Ctrl-C ends it; a video that is being saved is complete then.

    \b
    edgekit demo --source synthetic:belt --frames 300 --save out/demo.mp4
    edgekit demo out/belt.tflite --source camera:0 --page 8080
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    import dataclasses  # noqa: PLC0415 - with the runtime below

    from device_runtime.contract.service import changed, parse_page  # noqa: PLC0415
    from device_runtime.errors import Interrupted, UsageError  # noqa: PLC0415 - the runtime takes 0.2 s to import
    from edgekit.demonstrating import DemoRequest, run_demo  # noqa: PLC0415
    from edgekit.project.locate import located_model  # noqa: PLC0415

    with located_model(model, prep, task, labels) as located, progress() as events:
        chosen = source or located.demo_source
        if chosen is None:
            raise UsageError("no source of frames", hint="name one: --source synthetic:belt")
        if chosen.startswith("synthetic:") and frames is None and save is not None:
            raise UsageError(f"{chosen} has no end", hint="say how many frames to save: --frames 300")
        name, count = located.engine(engine, threads)
        service = changed(
            dataclasses.replace(located.service, page=None),
            source=chosen,
            engine=name,
            threads=count,
            workers=workers,
            tracking=track or None,
            page=None if page is None else parse_page(page, located.service.page),
        )
        result = run_demo(located, DemoRequest(service, frames, save), events)
    if as_json:
        answer_json(result)
    else:
        seen = ", ".join(f"{count} × {label}" for label, count in result.seen.items()) or "nothing"
        answer(f"{result.frames} frames from {result.source}, {result.fps:.1f} fps, {result.dropped} dropped")
        answer(f"found: {seen}")
        if result.video:
            answer(f"annotated video: {result.video}")
    if result.interrupted:
        raise Interrupted("stopped")
