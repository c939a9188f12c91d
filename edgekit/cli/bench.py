"""``edgekit bench``: latency, stage by stage: measured, compared, guarded, and swept over configurations."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.decode import dumps
from device_runtime.contract.reported import ReportedError
from device_runtime.errors import EdgeError, UsageError
from device_runtime.files import Replacement, write_text
from edgekit.cli.bench_options import (
    DEFAULT_SOURCE,
    SECTIONS,
    Judging,
    Measuring,
    OnBoards,
    Outputs,
    Sweeping,
    bench_options,
)
from edgekit.cli.options import model_argument, prep_options, task_options
from edgekit.cli.output import answer, answer_json, problem, progress, warn
from edgekit.cli.sections import SectionedCommand

if TYPE_CHECKING:
    from device_runtime.contract.bench import BenchReport
    from device_runtime.contract.events import Events
    from edgekit.benching.history import Baseline, History
    from edgekit.benching.outcome import Failure, Outcome
    from edgekit.benching.remote import RemoteCall
    from edgekit.benching.run import BenchCall
    from edgekit.benching.sweep_report import SweepReport
    from edgekit.boards.channel import Stopper
    from edgekit.boards.ssh import SshTarget
    from edgekit.boards.target import LocalTarget
    from edgekit.bundling.describe import BundleFacts
    from edgekit.deploying.fleet import BoardOutcome
    from edgekit.project.config import Project
    from edgekit.project.locate import LocatedModel

_RUN_SUFFIX = ".json"


@click.command(cls=SectionedCommand, sections=SECTIONS)
@model_argument(required=False)
@bench_options
@click.option("--labels", type=click.Path(path_type=Path), help="Label file, one name per line.")
@prep_options
@task_options
@click.pass_context
def command(
    ctx: click.Context,
    model: Path | None,
    labels: Path | None,
    prep: PrepOptions,
    task: TaskOptions,
    measuring: Measuring,
    boards: OnBoards,
    judging: Judging,
    outputs: Outputs,
    sweeping: Sweeping,
) -> None:
    """Measure MODEL (a .tflite file or a bundle; by default the project's) in the camera loop.

    Here it runs in a process of its own. With --target it runs on a board, with the runtime of the release that is
    installed there, and by default that release's model; what is sent for it leaves no trace. What slowed the machine
    down, or worked on it, is said, and such a run is marked.

    Two runs are compared by the 95% intervals of their ratios. MODEL may be a saved run (.json): nothing is measured
    then. A gate that was missed, or could not be decided, is exit code 8; everything else is written before.

    \b
    edgekit bench --duration 20 --html out/bench.html --save
    edgekit bench --target ssh://pi@board.local --exclusive
    edgekit bench --compare last --fail-regression 10% --fail-over p95=40ms
    edgekit bench --compare before.json after.json
    edgekit bench --sweep threads=1,2,4 --sweep recipe=static-int8,float16 --html out/sweep.html
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    verb = _Verb(model, labels, prep, task, measuring, boards, judging, outputs, sweeping)
    verb.check(_given(ctx))
    ctx.exit(verb.run())


@dataclass(frozen=True)
class _Verb:
    """One call of the verb."""

    model: Path | None
    labels: Path | None
    prep: PrepOptions
    task: TaskOptions
    measuring: Measuring
    boards: OnBoards
    judging: Judging
    outputs: Outputs
    sweeping: Sweeping

    @property
    def saved(self) -> Path | None:
        """The saved run that takes the place of a measurement."""
        return self.model if self.model and self.model.suffix == _RUN_SUFFIX else None

    def check(self, given: set[str]) -> None:
        """Refuse what does not fit together, before anything is measured. ``given`` are the options in use."""
        measures = set(_names(Measuring)) | set(_names(OnBoards)) | {"labels"}
        sweeps = set(_names(Sweeping))
        judges = {"compare", "save", "fail_over", "fail_regression", "accept_disturbed"}
        if self.saved and (found := given & (measures | sweeps | {"save"})):
            raise UsageError(
                f"{_option(found)}: {self.saved} is a run that was measured already",
                hint="name a model or a bundle to measure, or leave the option out",
            )
        if self.judging.save and (Path(self.judging.save).suffix in (".tflite", ".edgekit")) and self.model is None:
            raise UsageError(
                f"--save took {self.judging.save} for the run's name", hint=f"edgekit bench {self.judging.save} --save"
            )
        if not self.sweeping.sweep and (found := given & (sweeps - {"sweep"})):
            raise UsageError(f"{_option(found)} is for sweeps", hint="--sweep threads=1,2")
        if self.sweeping.sweep and (found := given & (judges | {"junit", "camera_fps", "cold_starts", "operators"})):
            raise UsageError(
                f"{_option(found)} does not go with --sweep", hint="sweep first, then measure the chosen configuration"
            )
        if self.boards.everything and self.boards.targets:
            raise UsageError("--all names every target already", hint="leave out --target")
        if not self.boards.asked and (found := given & {"exclusive", "parallel", "scope"}):
            raise UsageError(f"{_option(found)} is for boards", hint="--target ssh://pi@board.local")

    def run(self) -> int:
        """Do it, and return the exit code."""
        from edgekit.project.config import find_project  # noqa: PLC0415 - help does without

        project = find_project(Path.cwd())
        if self.sweeping.sweep:
            return self._sweep(project)
        keeping = _Keeping.of(self.judging, project)
        if not self.boards.asked:
            self._check_files()
            with progress() as events:
                outcome = self._outcome(self._report(events), keeping)
            return self._finish(outcome, keeping)
        places = self._places(project)
        self._check_files([str(place) for place in places])
        if len(places) == 1:
            with self._remote_call(ask=sys.stdin.isatty()) as call, progress() as events:
                outcome = self._outcome(_measure_on(places[0], call, events), keeping)
            return self._finish(outcome, keeping)
        return self._boards(places, keeping)

    def _report(self, events: Events) -> BenchReport:
        """Read the saved run, or measure on this machine."""
        from edgekit.benching.compare import read_report  # noqa: PLC0415 - the runtime takes 0.2 s to import
        from edgekit.benching.run import measure  # noqa: PLC0415

        if self.saved:
            return read_report(self.saved)
        with self._located() as located:
            return measure(self.measuring.call(located), events)

    def _finish(self, outcome: Outcome, keeping: _Keeping) -> int:
        """Keep, write and print one run, and return its exit code."""
        notes = [*keeping.keep(outcome), *self._write((outcome,), (self.outputs.html,))]
        self._print_markdown((outcome,))
        for warning in (*outcome.report.warnings, *keeping.warnings(outcome)):
            warn(warning)
        if self.outputs.as_json:
            answer_json(outcome.document())
        elif self.outputs.markdown != "-":
            from edgekit.cli.bench_tables import show_outcome  # noqa: PLC0415 - as above

            show_outcome(outcome)
            for note in notes:
                answer(note)
        if outcome.error:
            problem(outcome.error)
        return outcome.exit_code

    def _boards(self, places: Sequence[LocalTarget | SshTarget], keeping: _Keeping) -> int:
        """Measure on several boards, and return the highest of their exit codes."""
        from edgekit.benching.outcome import Failure  # noqa: PLC0415 - as above
        from edgekit.benching.remote import GO_ON  # noqa: PLC0415
        from edgekit.cli.bench_tables import show_boards  # noqa: PLC0415
        from edgekit.deploying.fleet import for_each, worst  # noqa: PLC0415

        with self._remote_call(ask=False) as call, progress() as events:

            def job(place: LocalTarget | SshTarget, events: Events, stopper: Stopper) -> Outcome:
                return self._outcome(_measure_on(place, call, events, stopper), keeping)

            done = for_each(places, job, events, parallel=self.boards.parallel, stopped=GO_ON)
        # A gate that was not passed is a board's own outcome, too.
        done = tuple(
            dataclasses.replace(each, exit_code=each.done.exit_code, error=each.done.error) if each.done else each
            for each in done
        )
        results = [
            each.done or Failure(each.target, each.error or ReportedError("failed", "no report", "", each.exit_code))
            for each in done
        ]
        notes = [note for each in done if each.done for note in keeping.keep(each.done, several=True)]
        pages = [_page_of(self.outputs.html, each.target) if self.outputs.html else None for each in done]
        notes += self._write(results, pages)
        self._print_markdown(results)
        for each in done:
            for warning in (*each.done.report.warnings, *keeping.warnings(each.done)) if each.done else ():
                warn(f"{each.target}: {warning}")
        code = worst(done)
        if self.outputs.as_json:
            answer_json({"boards": [_board(each) for each in done], "exit_code": code})
        elif self.outputs.markdown != "-":
            show_boards(done)
            for note in notes:
                answer(note)
        return code

    def _outcome(self, report: BenchReport, keeping: _Keeping) -> Outcome:
        """Hold a run against what was asked for."""
        from edgekit.benching.compare import compare_runs  # noqa: PLC0415 - as above
        from edgekit.benching.gates import judge_limits, judge_regressions  # noqa: PLC0415
        from edgekit.benching.outcome import Outcome  # noqa: PLC0415

        before = keeping.baseline.of(report) if keeping.baseline else None
        comparison = compare_runs(before, report) if before else None
        accept = self.judging.accept_disturbed
        gates = (
            *judge_limits(report, self.judging.limits, accept_disturbed=accept),
            *judge_regressions(comparison, self.judging.regressions, accept_disturbed=accept),
        )
        return Outcome(report, comparison, gates)

    def _sweep(self, project: Project | None) -> int:
        """Measure in all settings, and return the exit code: 0, or that of what stopped it."""
        from edgekit.benching.recommend import needs_conversion, project_to_write, write_recommendation  # noqa: PLC0415 - as above
        from edgekit.benching.sweep import SweepOptions, plan_sweep, run_sweep  # noqa: PLC0415

        places = self._places(project) if self.boards.asked else ()
        if len(places) > 1:
            raise click.UsageError("a sweep is for one board; name one --target")
        self._check_files()
        meter = _Meter(places[0], self.boards) if places else _Meter()
        asked = self.sweeping
        with self._located() as located, progress() as events:
            if asked.write:
                project_to_write(located.project)  # first of all, as with files
            call = dataclasses.replace(self.measuring.call(located), operators=False, cold_starts=0)
            if places and not self.measuring.source:
                call = dataclasses.replace(call, source=DEFAULT_SOURCE)
            options = SweepOptions(asked.data, asked.rounds, asked.seed, asked.percentile, asked.max_drop, meter.target)
            plan = plan_sweep(located, asked.sweep, call, options)
            report = run_sweep(plan, events, meter, self._write_sweep)
        self._write_sweep(report)
        changes = write_recommendation(located.project, report) if asked.write and report.complete else ()
        self._print_sweep(report)
        if asked.write and not report.complete:
            warn("nothing was written to edgekit.toml: the sweep was stopped before it was complete")
        if not self.outputs.as_json and self.outputs.markdown != "-":
            for change in changes:
                answer(f"{located.project.path.name if located.project else ''}: {change}")
            if needs_conversion(changes):
                answer("next: edgekit convert")
            if self.outputs.html:
                answer(f"report: {self.outputs.html}")
        return 0 if report.complete else 5 if meter.lost else 130

    def _write_sweep(self, report: SweepReport) -> None:
        """Write the page of a sweep as far as it is: what was measured is kept, whatever happens to this process."""
        from edgekit.benching.sweep_page import render_sweep  # noqa: PLC0415 - as above

        if self.outputs.html:
            write_text(self.outputs.html, render_sweep(report))

    def _print_sweep(self, report: SweepReport) -> None:
        from edgekit.benching.markdown import sweep_markdown  # noqa: PLC0415 - as above
        from edgekit.cli.bench_tables import show_sweep  # noqa: PLC0415

        where = self.outputs.markdown
        if where == "-":
            answer(sweep_markdown(report))
        elif where:
            write_text(Path(where), sweep_markdown(report))
        if self.outputs.as_json:
            answer_json(report)
        elif where != "-":
            show_sweep(report)

    @contextmanager
    def _located(self) -> Iterator[LocatedModel]:
        from edgekit.project.locate import located_model  # noqa: PLC0415 - as above

        with located_model(self.model, self.prep, self.task, self.labels) as located:
            yield located

    def _places(self, project: Project | None) -> tuple[LocalTarget | SshTarget, ...]:
        from edgekit.boards.target import find_places  # noqa: PLC0415 - as above

        return find_places(self.boards.targets, project, everything=self.boards.everything)

    @contextmanager
    def _remote_call(self, *, ask: bool) -> Iterator[RemoteCall]:
        """Yield what boards are to measure: the model, or without one the release that is current there."""
        from edgekit.benching.remote import RemoteCall, model_as_bundle  # noqa: PLC0415 - as above
        from edgekit.bundling.describe import describe_bundle  # noqa: PLC0415

        with ExitStack() as stack:
            bundle: BundleFacts | None = None
            if self.model and self.model.suffix == ".tflite":
                located = stack.enter_context(self._located())
                bundle = stack.enter_context(model_as_bundle(located.model, located.spec))
            elif self.model:
                bundle = describe_bundle(self.model)
            yield RemoteCall(
                bundle,
                self.measuring.words(),
                self.boards.exclusive,
                self.measuring.expected_s,
                scope=self.boards.scope,
                ask=ask,
            )

    def _check_files(self, boards: Sequence[str] = ()) -> None:
        """First of all: nobody measures for a minute to learn that a result cannot be written."""
        html = self.outputs.html
        pages = [_page_of(html, name) for name in boards] if html and len(boards) > 1 else [html]
        markdown = None if self.outputs.markdown in (None, "-") else Path(self.outputs.markdown or "")
        for path in (*pages, self.outputs.junit, markdown):
            if path:
                check_writable(path)

    def _write(self, results: Sequence[Outcome | Failure], pages: Sequence[Path | None]) -> list[str]:
        """Write the files that were asked for, each whole or not at all; return what to say of them."""
        from edgekit.benching.outcome import Outcome  # noqa: PLC0415 - as above

        notes = []
        for result, page in zip(results, pages, strict=True):
            if page and isinstance(result, Outcome):
                from edgekit.benching.report import render  # noqa: PLC0415 - as above

                write_text(page, render(result.report, result.comparison, result.gates))
                notes.append(f"report: {page}")
        if self.outputs.junit:
            from edgekit.benching.junit import junit  # noqa: PLC0415 - as above

            write_text(self.outputs.junit, junit(results))
            notes.append(f"JUnit: {self.outputs.junit}")
        if self.outputs.markdown not in (None, "-"):
            from edgekit.benching.markdown import markdown  # noqa: PLC0415 - as above

            write_text(Path(self.outputs.markdown or ""), markdown(results))
            notes.append(f"Markdown: {self.outputs.markdown}")
        return notes

    def _print_markdown(self, results: Sequence[Outcome | Failure]) -> None:
        if self.outputs.markdown == "-":
            from edgekit.benching.markdown import markdown  # noqa: PLC0415 - as above

            answer(markdown(results))


@dataclass(frozen=True)
class _Keeping:
    """What runs are compared with, and where they are kept."""

    judging: Judging
    history: History | None
    baseline: Baseline | None

    @classmethod
    def of(cls, judging: Judging, project: Project | None) -> _Keeping:
        """Find both before anything is measured. Raises UsageError, BadFileError and EdgeError."""
        from edgekit.benching.history import FOLDER, History, find_baseline, is_path  # noqa: PLC0415 - as above

        history = History(project.folder / FOLDER) if project else None
        baseline = find_baseline(judging.compare, history) if judging.compare is not None else None
        if judging.save is not None:
            if judging.save and is_path(judging.save):
                check_writable(Path(judging.save))
            elif history is None:
                raise UsageError(
                    "--save: no edgekit.toml here or above, so that there is no project to keep runs in",
                    hint="name a file: --save run.json",
                )
            else:
                history.check(judging.save)
        return cls(judging, history, baseline)

    def keep(self, outcome: Outcome, *, several: bool = False) -> list[str]:
        """Save a run where that was asked for, and return what to say of it."""
        from edgekit.benching.history import is_path  # noqa: PLC0415 - as above

        name = self.judging.save
        if name is None or self._regressed(outcome):
            return []
        report = outcome.report
        if name and several:
            if is_path(name):
                return [f"saved: {_saved_as(_page_of(Path(name), str(report.target)), report)}"]
            name = f"{name}-{_file_name(str(report.target))}"
        if name and is_path(name):
            return [f"saved: {_saved_as(Path(name), report)}"]
        return [f"saved: {self.history.save(report, name)}"] if self.history else []

    def warnings(self, outcome: Outcome) -> list[str]:
        """Return what to say of a run that was not compared, or not saved."""
        from edgekit.benching.history import kind_of  # noqa: PLC0415 - as above

        found = []
        if self.baseline and outcome.comparison is None:
            found.append(f"no saved run of {kind_of(outcome.report)}: nothing was compared")
        if self.judging.save is not None and self._regressed(outcome):
            found.append("the run missed a gate and was not saved: the next one would be compared with it")
        return found

    def _regressed(self, outcome: Outcome) -> bool:
        return bool(self.judging.regressions) and any(gate.outcome == "missed" for gate in outcome.gates)


class _Meter:
    """Measures a point of a sweep: here, or on a board; and remembers when that was lost."""

    def __init__(self, place: LocalTarget | SshTarget | None = None, boards: OnBoards | None = None) -> None:
        self._place = place
        self._boards = boards
        self.lost = False

    @property
    def target(self) -> str | None:
        """The board's name."""
        return str(self._place) if self._place else None

    def __call__(self, call: BenchCall, events: Events) -> BenchReport:
        """Measure once."""
        from edgekit.benching.run import measure  # noqa: PLC0415 - as above

        if self._place is None or self._boards is None:
            return measure(call, events)
        from device_runtime.contract.decode import read_json  # noqa: PLC0415 - as above
        from device_runtime.contract.model import ModelSpec  # noqa: PLC0415
        from edgekit.benching.remote import RemoteCall, model_as_bundle  # noqa: PLC0415
        from edgekit.boards.errors import UnreachableError  # noqa: PLC0415

        boards = self._boards
        with model_as_bundle(call.model, read_json(ModelSpec, call.spec)) as bundle:
            remote = RemoteCall(bundle, tuple(call.options()), boards.exclusive, call.expected_s, scope=boards.scope)
            try:
                return _measure_on(self._place, remote, events)
            except UnreachableError:
                self.lost = True
                raise


def _measure_on(
    place: LocalTarget | SshTarget, call: RemoteCall, events: Events, stopper: Stopper | None = None
) -> BenchReport:
    from edgekit.benching.remote import measure_on  # noqa: PLC0415 - as above

    return measure_on(place, call, events, stopper)


def _saved_as(path: Path, report: BenchReport) -> Path:
    write_text(path, dumps(report))
    return path


def _page_of(path: Path, board: str) -> Path:
    """Return a board's own file where several have one each: ``bench.html`` is ``bench-line1.html`` for line1."""
    return path.with_name(f"{path.stem}-{_file_name(board)}{path.suffix}")


def _file_name(text: str) -> str:
    from edgekit.benching.history import file_word  # noqa: PLC0415 - as above

    return file_word(text, "board")


def _board(each: BoardOutcome[Outcome]) -> dict[str, object]:
    document = each.done.document() if each.done else None
    return {"target": each.target, "exit_code": each.exit_code, "error": each.error, "done": document}


def check_writable(path: Path) -> None:
    """Tell before a long job whether its result can be written. Raises EdgeError."""
    if path.is_dir():
        raise EdgeError(f"cannot write {path}: it is a folder", hint=f"name a file in it: {path / 'bench'}")
    Replacement(path).discard()


def _given(ctx: click.Context) -> set[str]:
    """Return the options that are on the command line."""
    source = click.core.ParameterSource.COMMANDLINE
    return {name for name in ctx.params if ctx.get_parameter_source(name) is source}


def _names(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _option(found: set[str]) -> str:
    """Return one of some parameters as the option that people wrote."""
    name = min(found)
    return f"--{ {'targets': 'target', 'everything': 'all', 'as_json': 'json'}.get(name, name).replace('_', '-') }"
