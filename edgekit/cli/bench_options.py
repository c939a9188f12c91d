"""The options of ``edgekit bench``, in groups: what is measured, where, held against what, and what is written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from device_runtime.errors import UsageError
from edgekit.cli.reaching import scope_option

if TYPE_CHECKING:
    from edgekit.benching.gates import Limit, Regression
    from edgekit.benching.run import BenchCall
    from edgekit.project.locate import LocatedModel

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_SOURCE = "synthetic:pattern"
DURATION_S = 10.0
COLD_STARTS = 3
"""By default, on this machine: of one, nobody knows whether it is like others."""

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Measuring:
    """What is measured: None where the user said nothing."""

    source: str | None
    duration: float | None
    runs: int | None
    camera_fps: float | None
    operators: bool | None
    cold_starts: int | None
    draw: bool
    engine: str | None
    threads: int | None
    delegate: str | None

    def call(self, located: LocatedModel) -> BenchCall:
        """Return what to measure on this machine."""
        from edgekit.benching.run import BenchCall  # noqa: PLC0415 - help does without

        engine, threads = located.engine(self.engine, self.threads)
        return BenchCall(
            located.model,
            located.spec_path,
            self.source or located.demo_source or DEFAULT_SOURCE,
            DURATION_S if self.duration is None else self.duration,
            threads,
            engine,
            runs=self.runs,
            camera_fps=self.camera_fps,
            operators=self.operators is not False,
            cold_starts=COLD_STARTS if self.cold_starts is None else self.cold_starts,
            draw=self.draw,
            delegate=self.delegate or located.service.delegate,
        )

    def words(self) -> tuple[str, ...]:
        """Return what the user said as words for the harness of a board, which may be an older one."""
        named = {
            "--source": self.source,
            "--duration": self.duration,
            "--runs": self.runs,
            "--camera-fps": self.camera_fps,
            "--cold-starts": self.cold_starts,
            "--engine": self.engine,
            "--threads": self.threads,
            "--delegate": self.delegate,
        }
        words = [part for name, value in named.items() if value is not None for part in (name, _written(value))]
        flags = {"--operators": self.operators, "--draw": self.draw}
        return (*words, *(name for name, given in flags.items() if given))

    @property
    def expected_s(self) -> float:
        """How long measuring will take, roughly."""
        once = DURATION_S if self.duration is None else self.duration
        return once * (2 if self.camera_fps else 1)


@dataclass(frozen=True)
class OnBoards:
    """Which boards measure; none of them: this machine does."""

    targets: tuple[str, ...]
    everything: bool
    exclusive: bool
    parallel: int
    scope: str

    @property
    def asked(self) -> bool:
        """Whether boards measure."""
        return self.everything or bool(self.targets)


@dataclass(frozen=True)
class Judging:
    """What a run is held against. ``save`` is None for not at all, and empty for a name made from time and model."""

    compare: str | None
    save: str | None
    limits: tuple[Limit, ...]
    regressions: tuple[Regression, ...]
    accept_disturbed: bool


@dataclass(frozen=True)
class Outputs:
    """Where results go. ``markdown`` is ``-`` for stdout."""

    as_json: bool
    html: Path | None
    junit: Path | None
    markdown: str | None

    def __post_init__(self) -> None:
        if self.as_json and self.markdown == "-":
            raise UsageError(
                "--json and --markdown - would both be on stdout", hint="--markdown summary.md, or leave one out"
            )


@dataclass(frozen=True)
class Sweeping:
    """What varies, and how a sweep is judged."""

    sweep: tuple[str, ...]
    data: Path | None
    rounds: int
    seed: int
    percentile: str
    max_drop: float | None
    write: bool


def _judging(values: dict[str, Any]) -> Judging:
    from edgekit.benching.gates import parse_limit, parse_regression  # noqa: PLC0415 - help does without

    limits = tuple(parse_limit(text) for text in values.pop("fail_over"))
    regressions = tuple(parse_regression(text) for text in values.pop("fail_regression"))
    if values["compare"] is None and regressions:
        values["compare"] = "last"
    return Judging(limits=limits, regressions=regressions, **values)


_MEASURING = (
    click.option(
        "--source",
        help=f"camera:0, file:clip.mp4, dir:pictures or synthetic:belt.  [default: the project's, or {DEFAULT_SOURCE}; "
        "on a board the service's]",
    ),
    click.option(
        "--duration", type=float, metavar="S", help="Measure for at least S seconds, once warm.  [default: 10]"
    ),
    click.option("--runs", type=click.IntRange(min=2), metavar="N", help="And at least N frames.  [default: 64]"),
    click.option(
        "--camera-fps", type=float, metavar="FPS", help="Then play the source as a camera of this rate, as long again."
    ),
    click.option(
        "--operators/--no-operators",
        default=None,
        help="Then profile the model's operators.  [default: here yes, on a board no]",
    ),
    click.option(
        "--cold-starts",
        type=click.IntRange(0, 100),
        metavar="N",
        help=f"Time N new processes to their first prediction.  [default: here {COLD_STARTS}, on a board 0]",
    ),
    click.option("--draw", is_flag=True, help="Draw what was found into each frame, too, and time that."),
    click.option("--engine", help="auto, litert or tflite-runtime.  [default: the project's or bundle's, or auto]"),
    click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads for one inference.  [default: as above, or 1]"
    ),
    click.option(
        "--delegate",
        type=click.Choice(["auto", "xnnpack", "none"]),
        help="What runs the operators.  [default: as above, or auto]",
    ),
)

_BOARDS = (
    click.option(
        "--target", "targets", multiple=True, metavar="TARGET", help="Measure on a board; several are allowed."
    ),
    click.option("--all", "everything", is_flag=True, help="Measure on all [targets] of edgekit.toml."),
    click.option(
        "--exclusive", is_flag=True, help="Stop the board's service meanwhile; it runs again, whatever happens."
    ),
    click.option(
        "--parallel",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="How many boards at a time: more than one share this machine and the network.",
    ),
    scope_option,
)

_JUDGING = (
    click.option(
        "--compare", metavar="RUN", help="Compare with a saved run: a file, a name that --save gave, or the word last."
    ),
    click.option(
        "--save",
        is_flag=False,
        flag_value="",
        metavar="[NAME]",
        help="Keep the run in the project's folder bench/, or where NAME says: a name, or a path.",
    ),
    click.option(
        "--fail-over",
        multiple=True,
        metavar="LIMIT",
        help="Exit with 8 beyond it: p95=40ms, invoke.p99=12ms, memory=200MB, cold-start=2s; below it: fps=20.",
    ),
    click.option(
        "--fail-regression",
        multiple=True,
        metavar="SHARE",
        help="Exit with 8 when it is shown to be slower than --compare (or last) by more: 10%, or invoke.p99=10%.",
    ),
    click.option("--accept-disturbed", is_flag=True, help="Let gates decide about disturbed runs, too."),
)

_OUTPUTS = (
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document (docs/reference/bench-json.md)."),
    click.option("--html", type=_PATH, metavar="FILE", help="Write a self-contained HTML report."),
    click.option("--junit", type=_PATH, metavar="FILE", help="Write JUnit XML: a test case for each gate."),
    click.option(
        "--markdown", metavar="FILE", help="Write GitHub-flavoured Markdown; - prints it in place of the table."
    ),
)

_SWEEPING = (
    click.option(
        "--sweep",
        multiple=True,
        metavar="AXIS=VALUES",
        help="Measure all combinations: recipe=static-int8,float16, threads=1,2, size=224x224, engine=…, delegate=….",
    ),
    click.option("--data", type=_PATH, help="Labelled data set for accuracy.  [default: [search] evaluation]"),
    click.option(
        "--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Measure each point so often."
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Decides the order of each round."),
    click.option(
        "--percentile",
        type=click.Choice(["p50", "p95"]),
        default="p50",
        show_default=True,
        help="Latency that points are judged by.",
    ),
    click.option(
        "--max-drop",
        type=click.FloatRange(0, 100),
        metavar="POINTS",
        help="Accuracy that may be lost against the best.  [default: [search] max_drop, or 1]",
    ),
    click.option("--write", is_flag=True, help="Write the recommended settings to edgekit.toml."),
)

_GROUPS: tuple[tuple[str, type, tuple[Callable[[Any], Any], ...]], ...] = (
    ("measuring", Measuring, _MEASURING),
    ("boards", OnBoards, _BOARDS),
    ("judging", Judging, _JUDGING),
    ("outputs", Outputs, _OUTPUTS),
    ("sweeping", Sweeping, _SWEEPING),
)

_NOT_FIELDS = {"limits": "fail_over", "regressions": "fail_regression"}
"""Fields that are made of the options with these names."""

SECTIONS = {
    "What is measured": (
        *("--source", "--duration", "--runs", "--camera-fps", "--operators", "--cold-starts", "--draw"),
        *("--engine", "--threads", "--delegate"),
    ),
    "Boards": ("--target", "--all", "--exclusive", "--parallel", "--scope"),
    "Comparisons and gates": ("--compare", "--save", "--fail-over", "--fail-regression", "--accept-disturbed"),
    "Sweeps": ("--sweep", "--data", "--rounds", "--seed", "--percentile", "--max-drop", "--write"),
    "Results": ("--json", "--html", "--junit", "--markdown"),
    "A .tflite file that does not say it itself": (
        *("--normalise", "--resize", "--crop-fraction", "--interpolation", "--pad", "--colour", "--labels", "--task"),
        *("--decoder", "--score-threshold", "--max-items", "--iou-threshold", "--box-format", "--label-offset"),
        *("--box-unit", "--score-activation", "--background", "--anchors"),
    ),
}
"""The help's sections, for ``SectionedCommand``."""


def bench_options(function: Callable[P, R]) -> Callable[..., R]:
    """Add all options of the verb; it gets ``measuring``, ``boards``, ``judging``, ``outputs`` and ``sweeping``."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> R:
        for name, kind, _ in _GROUPS:
            own = [_NOT_FIELDS.get(field.name, field.name) for field in fields(kind)]
            given = {option: values.pop(option) for option in own}
            values[name] = _judging(given) if kind is Judging else kind(**given)
        return function(*args, **values)

    decorated: Any = command
    for _, _, options in reversed(_GROUPS):
        for option in reversed(options):
            decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's decorators


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
