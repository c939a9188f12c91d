"""``python -m device_runtime run | check | bench | install``: the board's own command line, argparse only."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device_runtime import __version__
from device_runtime.contract.decode import dumps, loads, read_json
from device_runtime.contract.events import Event, Notice
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.reported import report_of
from device_runtime.contract.service import ServiceSpec, changed, parse_page
from device_runtime.errors import EdgeError, Interrupted, UsageError
from device_runtime.notify import level_prefix
from device_runtime.signals import interrupt_on, leave

if TYPE_CHECKING:
    from device_runtime.pulse import Heart


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code (the same codes as ``edgekit``'s)."""
    if arguments[:1] == ["install"]:
        from device_runtime.install.__main__ import main as install  # noqa: PLC0415 - it needs nothing of the rest

        return install(arguments[1:])
    options = _parser().parse_args(arguments)
    interrupt_on(signal.SIGTERM)
    try:
        with _held(getattr(options, "release", None)):
            document = options.run(options)
    except (KeyboardInterrupt, Interrupted):
        return _report(Interrupted("interrupted"), as_json=options.json)
    except BrokenPipeError:
        return 0
    except EdgeError as error:
        return _report(error, as_json=options.json)
    if options.json:
        print(dumps(document), end="", flush=True)  # noqa: T201 - stdout is the answer
    return 130 if isinstance(document, dict) and document.get("interrupted") else 0


@contextlib.contextmanager
def _held(release: Path | None) -> Iterator[None]:
    """Keep a release from being removed while it runs. What is no release is said by the command itself."""
    if release is None:
        yield
        return
    from device_runtime.contract.manifest import RELEASE_MANIFEST  # noqa: PLC0415 - a model file needs it not
    from device_runtime.install.lock import using  # noqa: PLC0415

    with using(release) if (release / RELEASE_MANIFEST).is_file() else contextlib.nullcontext():
        yield


def _run(options: argparse.Namespace) -> Any:
    with _heart(options) as heart:
        return _run_loop(options, heart)


def _run_loop(options: argparse.Namespace, heart: Heart | None) -> Any:
    from device_runtime.application import Application, run_application  # noqa: PLC0415 - each command loads its own
    from device_runtime.loop.run import Limits  # noqa: PLC0415
    from device_runtime.sinks.jsonl import JsonLines  # noqa: PLC0415

    what = _what(options)
    application = Application(
        what.model,
        what.spec,
        _service(options, what.service),
        what.name,
        what.release,
        options.data or what.data,
        Limits(options.frames, options.duration),
    )
    # Of a service stdout is the journal: thirty lines a second would wear out the card that it lies on.
    quiet = options.json or options.quiet or options.service
    summary = run_application(application, lambda _: [] if quiet else [JsonLines(sys.stdout)], _tell, heart)
    figures = {
        "frames": summary.frames,
        "dropped": summary.dropped,
        "damaged": summary.damaged,
        "fps": round(summary.fps, 2),
    }
    damaged = f"{summary.damaged} damaged, " if summary.damaged else ""
    _say("info", f"{summary.frames} frames, {summary.dropped} dropped, {damaged}{summary.fps:.1f} fps")
    return {**figures, "fps": round(summary.fps, 2), "seconds": summary.seconds, "interrupted": summary.interrupted}


def _heart(options: argparse.Namespace) -> contextlib.AbstractContextManager[Heart | None]:
    """Return what tells a service manager how the run is doing, for those who were started by one."""
    if not options.service:
        return contextlib.nullcontext()
    from device_runtime.pulse import heart_of_service  # noqa: PLC0415 - only for services

    return heart_of_service(options.release, _tell)


def _service(options: argparse.Namespace, service: ServiceSpec) -> ServiceSpec:
    """Return how it runs: what the command line says, else what the release says."""
    if options.no_page:
        service = dataclasses.replace(service, page=None)
    return changed(
        service,
        source=options.source,
        engine=options.engine,
        threads=options.threads,
        delegate=options.delegate,
        workers=options.workers,
        tracking=options.track or None,
        page=None if options.page is None else parse_page(options.page, service.page),
    )


def _tell(event: Event) -> None:
    """Print what happens to stderr: a service's journal."""
    if isinstance(event, Notice):
        _say(event.severity, f"warning: {event.message}" if event.severity == "warning" else event.message)


def _say(level: str, line: str) -> None:
    """Print a line for people; the journal gets to know its level."""
    print(f"{level_prefix(level, sys.stderr, os.environ)}{line}", file=sys.stderr, flush=True)  # noqa: T201


def _check(options: argparse.Namespace) -> Any:
    from device_runtime.check import check_release  # noqa: PLC0415
    from device_runtime.release import read_release  # noqa: PLC0415

    report = check_release(read_release(options.release), options.engine or "auto")
    if not options.json:
        print(  # noqa: T201
            f"ok: {report.samples} goldens, at most {report.worst_steps} steps off, cosine {report.min_cosine:.6f}"
        )
    return report


def _bench(options: argparse.Namespace) -> Any:
    if options.first:
        return _first(options)
    from device_runtime.bench.run import BenchRequest, run_bench  # noqa: PLC0415
    from device_runtime.cameras.options import CameraOptions  # noqa: PLC0415

    what = _what(options)
    own = options.source is None and what.release is not None
    service = what.service
    report = run_bench(
        BenchRequest(
            what.model,
            what.spec,
            options.source or (service.source if what.release else "synthetic:pattern"),
            options.duration,
            options.engine or service.engine,
            options.threads or service.threads,
            what.release,
            runs=options.runs,
            camera_fps=options.camera_fps,
            operators=options.operators,
            cold_starts=options.cold_starts,
            draw=options.draw,
            delegate=options.delegate or service.delegate,
            camera=CameraOptions(service.size, service.fps, service.format) if own else CameraOptions(),
        )
    )
    if not options.json:
        for stage, stats in report.stages.items():
            print(f"{stage:8} p50 {stats.p50:8.3f} ms   mean {stats.mean:8.3f} ms")  # noqa: T201
        print(f"{report.fps:.1f} fps, {report.frames} frames")  # noqa: T201
        for warning in report.warnings:
            _say("warning", f"warning: {warning}")
    return report


def _first(options: argparse.Namespace) -> Any:
    """Predict once, what stdin says: a cold start, which the harness times from outside."""
    from device_runtime.bench.first import FirstRequest, predict_first  # noqa: PLC0415

    found = predict_first(loads(FirstRequest, sys.stdin.read(), "stdin"))
    if not options.json:
        print(found.at_ns)  # noqa: T201
    return found


@dataclass(frozen=True)
class _What:
    """A model and what is known of it: from a release, or of a file alone."""

    model: Path
    spec: ModelSpec
    name: str
    service: ServiceSpec = field(default_factory=ServiceSpec)
    release: str | None = None
    data: Path = Path()


def _what(options: argparse.Namespace) -> _What:
    if options.release:
        from device_runtime.release import read_release  # noqa: PLC0415

        release = read_release(options.release)
        return _What(release.model, release.spec, release.manifest.name, release.service, release.name, release.data)
    if not options.model:
        raise UsageError("expected --release DIR or --model FILE")
    spec = read_json(ModelSpec, options.spec or options.model.with_suffix(".json"))
    return _What(options.model, spec, options.model.stem)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m device_runtime", description="edgekit on the board")
    parser.add_argument("--version", action="version", version=f"edgekit device runtime {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a model on camera frames; predictions are JSON lines on stdout")
    run.add_argument("--frames", type=int, help="end after so many frames")
    run.add_argument("--duration", type=float, help="end after so many seconds")
    run.add_argument("--workers", type=_workers, metavar="N", help="frames at the same time, or auto (default)")
    run.add_argument("--track", action="store_true", help="give objects numbers that they keep")
    run.add_argument("--page", metavar="[HOST:]PORT", help="serve the live page; beyond loopback it needs a token")
    run.add_argument("--no-page", action="store_true", help="serve no page, whatever the release says")
    run.add_argument("--data", type=Path, metavar="DIR", help="where relative folders of sinks lie")
    run.add_argument("--quiet", action="store_true", help="print no predictions")
    run.add_argument(
        "--service", action="store_true", help="run under systemd: wait for the camera, report, print no predictions"
    )
    run.set_defaults(run=_run)

    check = commands.add_parser("check", help="load a release's model and compare its answers with the goldens")
    check.add_argument("--release", type=Path, required=True, metavar="DIR")
    check.add_argument("--engine", help="auto, litert or tflite-runtime")
    check.add_argument("--json", action="store_true", help="print one JSON document")
    check.set_defaults(run=_check)

    bench = commands.add_parser("bench", help="measure latency, stage by stage")
    bench.add_argument("--duration", type=float, default=10.0, help="measure for at least so many seconds, once warm")
    bench.add_argument("--runs", type=int, default=64, metavar="N", help="and at least so many frames (default 64)")
    bench.add_argument("--cold-starts", type=int, default=0, metavar="N", help="time so many new processes before")
    bench.add_argument("--camera-fps", type=float, metavar="FPS", help="then play the source as a camera of this rate")
    bench.add_argument("--operators", action="store_true", help="then profile the model's operators")
    bench.add_argument("--draw", action="store_true", help="draw what was found into each frame, too")
    bench.add_argument("--first", action="store_true", help=argparse.SUPPRESS)
    bench.set_defaults(run=_bench)

    for command in (run, bench):
        command.add_argument("--release", type=Path, metavar="DIR", help="an installed release")
        command.add_argument("--model", type=Path, metavar="FILE", help="a .tflite file instead")
        command.add_argument("--spec", type=Path, metavar="FILE", help="its ModelSpec (default: beside it, .json)")
        command.add_argument(
            "--source", help="v4l2:0, picamera2:0, rtsp://…, file:clip.mp4, dir:pictures, synthetic:belt"
        )
        command.add_argument("--engine", help="auto, litert or tflite-runtime")
        command.add_argument("--threads", type=int, help="CPU threads for one inference")
        command.add_argument("--delegate", help="what runs the operators: auto, xnnpack or none")
        command.add_argument("--json", action="store_true", help="print one JSON document")
    commands.add_parser("install", help="the installer: see python -m device_runtime install --help", add_help=False)
    return parser


def _workers(text: str) -> int:
    return 0 if text == "auto" else int(text)


def _report(error: EdgeError, *, as_json: bool) -> int:
    _say("error", f"error: {error}")
    if error.hint:
        _say("error", f"hint: {error.hint}")
    if as_json:
        print(dumps({"error": report_of(error)}), end="", flush=True)  # noqa: T201
    return error.exit_code


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
