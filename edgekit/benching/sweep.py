"""Measures a model in many settings, in turns, so that what the machine does meets all of them alike."""

from __future__ import annotations

import datetime as dt
import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from converters.datasets import Dataset, read_dataset
from device_runtime.bench.run import model_facts
from device_runtime.bench.statistics import SAMPLES_FOR_P95, summarise
from device_runtime.contract.bench import BenchReport, Interval, LatencyStats
from device_runtime.contract.events import Event, Events, Notice, Step, silent
from device_runtime.contract.reported import report_of
from device_runtime.engine.litert import installed_engines
from device_runtime.errors import EdgeError, Interrupted, ModelError, UsageError
from device_runtime.machine import usable_cores
from edgekit.benching.axes import Axes, parse_axes
from edgekit.benching.compare import disturbances, widened
from edgekit.benching.pareto import with_front
from edgekit.benching.recommend import recommend
from edgekit.benching.run import BenchCall, measure
from edgekit.benching.sweep_report import (
    PERCENTILES,
    Accuracy,
    PointLatency,
    Setting,
    SweepPoint,
    SweepReport,
    named,
)
from edgekit.benching.variants import GivenModel, Models, ProjectModels, Variant
from edgekit.boards.errors import UnreachableError
from edgekit.evaluating.evaluate import Evaluation, evaluate
from edgekit.project.locate import LocatedModel

WORK = ("prepare", "invoke", "decode")
"""What a frame costs: the stages that a setting changes. ``total`` has waiting in it, which depends on the source."""

STAGE = "work"
"""What the sum of ``WORK`` is called among a run's stages."""

MAX_DROP = 1.0
"""Points of accuracy that the recommended point may be below the best, where the project says nothing."""

_LEAST_MS = 1e-6
_MOST_ROUNDS = 20
_LEAST_S = 1.0
"""Of each measurement, whatever the whole time of a point: shorter ones are all warm-up."""

# Student's t, 97.5%, for 1 to 19 degrees of freedom: Abramowitz and Stegun, Handbook of Mathematical Functions (1964),
# table 26.10.
_T: tuple[float, ...] = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_T = (*_T, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093)

Measure = Callable[[BenchCall, Events], BenchReport]
"""Measures once: ``edgekit.benching.run.measure`` here, or what does the same on a board."""

Keep = Callable[[SweepReport], None]
"""Is given the report so far after each measurement."""


@dataclass(frozen=True)
class SweepOptions:
    """What else is said of a sweep; see ``SweepPlan``. ``data`` None is the project's, ``max_drop`` None its own."""

    data: Path | None = None
    rounds: int = 3
    seed: int = 0
    percentile: str = "p50"
    max_drop: float | None = None
    target: str | None = None


@dataclass(frozen=True)
class SweepPlan:
    """A sweep that can begin.

    ``call`` has what does not vary; its ``duration_s`` is for all ``rounds`` of a point together. ``models`` gives the
    model of each setting. ``dataset`` is what accuracy is measured on. ``seed`` decides the order in which points are
    measured in each round, ``percentile`` what they are judged by.
    """

    name: str
    axes: Axes
    call: BenchCall
    models: Models
    dataset: Dataset | None = None
    rounds: int = 3
    seed: int = 0
    percentile: str = "p50"
    max_drop: float = MAX_DROP
    target: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= _MOST_ROUNDS:
            raise UsageError(f"rounds: expected 1–{_MOST_ROUNDS}, got {self.rounds}")
        if self.percentile not in PERCENTILES:
            raise UsageError(f"percentile: expected {' or '.join(PERCENTILES)}, got {self.percentile}")
        if not 0 <= self.max_drop <= 100:
            raise UsageError(f"max drop: expected 0–100 points, got {self.max_drop:g}")

    @property
    def usual(self) -> Setting:
        """What holds where nothing varies."""
        return Setting(engine=self.call.engine, delegate=self.call.delegate, threads=self.call.threads)


def plan_sweep(
    located: LocatedModel, words: Sequence[str], call: BenchCall, options: SweepOptions | None = None
) -> SweepPlan:
    """Decide what a sweep measures, before anything is converted or measured.

    Args:
        located: the model. Its project, where it has one, gives the trained model for other recipes and sizes, and
            the data set of ``[search] evaluation``.
        words: what varies, as on the command line: ``threads=1,2``.
        call: what does not vary.
        options: the rest.

    Raises:
        UsageError: an axis or a value is unknown, or cannot be varied for this model.
        BadFileError: the data set, or a recipe's file, is wrong.
    """
    options = options or SweepOptions()
    axes = parse_axes(words)
    project = located.project
    models: Models = GivenModel(located)
    if axes.recipes or axes.sizes:
        if project is None:
            raise UsageError(
                f"--sweep {'recipe' if axes.recipes else 'size'}: {located.model.name} is converted already, and only "
                "a trained model can be given another one",
                hint="leave MODEL out, in the folder of a project; threads, engine and delegate vary for any model",
            )
        made_by = located.spec.provenance.recipe if located.spec.provenance else ""
        models = ProjectModels(project, made_by if project.file.model.recipe == "auto" else "")
    search = project.search if project else None
    folder = options.data or (search.evaluation if search else None)
    drop = options.max_drop if options.max_drop is not None else search.max_drop if search else MAX_DROP
    return SweepPlan(
        name=project.file.project.name if project else located.spec.name,
        axes=axes,
        call=call,
        models=models,
        dataset=read_dataset(folder) if folder else None,
        rounds=options.rounds,
        seed=options.seed,
        percentile=options.percentile,
        max_drop=drop,
        target=options.target,
    )


def run_sweep(
    plan: SweepPlan, events: Events = silent, measure: Measure = measure, keep: Keep | None = None
) -> SweepReport:
    """Convert, evaluate and measure; all points once in each round, in an order of its own.

    A point that fails is a row with its error. Ctrl-C, and a board that does not answer any more, end the measuring:
    the report has what was measured so far then, and is not ``complete``.

    Args:
        plan: what to measure.
        events: hears of steps, progress and warnings.
        measure: measures one point once.
        keep: is given the report after each measurement, so that it can be kept whatever happens.

    Raises:
        UsageError: the data set is not the model's, or a recipe or a size is not possible at all.
        BadFileError: the data set cannot be read.
        Interrupted: stopped before anything was measured.
    """
    sweep = _Sweep(plan, events)
    sweep.prepare()
    try:
        for number in range(1, plan.rounds + 1):
            for place, point in enumerate(order := sweep.order(number), start=1):
                where = f"round {number} of {plan.rounds}, {place} of {len(order)}"
                sweep.measure(point, measure, where)
                if keep is not None:
                    keep(sweep.report(complete=False))
    except (KeyboardInterrupt, Interrupted):
        if not any(point.runs for point in sweep.points):
            raise
        sweep.warnings.append("stopped before all rounds were measured")
        return sweep.report(complete=False)
    except UnreachableError as error:
        sweep.warnings.append(f"stopped before all rounds were measured: {error}")
        return sweep.report(complete=False)
    return sweep.report(complete=True)


@dataclass
class _Sweep:
    """A sweep at work."""

    plan: SweepPlan
    events: Events
    points: list[SweepPoint] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _variants: dict[int, Variant] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make all models, and measure their accuracy: who waits for latencies knows that the rest is in order."""
        settings = self.plan.axes.settings(self.plan.usual)
        for number, setting in enumerate(settings, start=1):
            point = SweepPoint(number, setting)
            try:
                variant = self.plan.models(setting, self.events)
            except (UsageError, Interrupted):
                raise
            except EdgeError as error:
                self.events(Notice(f"{self._name(point)}: {error}", "warning"))
                self.points.append(replace(point, error=report_of(error)))
                continue
            self._variants[number] = variant
            self.points.append(replace(point, model=model_facts(variant.model, variant.spec)))
        if self.plan.dataset is None:
            self.warnings.append(
                "accuracy was not measured, for want of labelled pictures: points compare by latency and size alone"
            )
        else:
            self._evaluate(self.plan.dataset)

    def order(self, round_number: int) -> list[int]:
        """Return the places of the points that are worth a measurement, in this round's own order."""
        alive = [place for place, point in enumerate(self.points) if point.error is None or point.runs]
        random.Random(f"{self.plan.seed}/{round_number}").shuffle(alive)  # noqa: S311 - an order, not a secret
        return alive

    def measure(self, place: int, measure: Measure, where: str) -> None:
        """Measure a point once more. Raises Interrupted, KeyboardInterrupt and UnreachableError as they come."""
        point = self.points[place]
        variant = self._variants[point.number]
        self.events(Step(f"{where}: {self._name(point)}"))
        try:
            run = measure(self._call(point.setting, variant), _without_steps(self.events))
            runs = (*point.runs, _compact(run))
        except (Interrupted, UnreachableError):
            raise
        except EdgeError as error:
            self.events(Notice(f"{self._name(point)}: {error}", "warning"))
            self.points[place] = replace(point, error=report_of(error))
            return
        self.points[place] = replace(point, runs=runs, model=run.model)

    def report(self, *, complete: bool) -> SweepReport:
        """Return what is known so far, judged."""
        plan = self.plan
        points = with_front(with_latencies(self.points), plan.percentile)
        report = SweepReport(
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            model=plan.name,
            source=next((point.runs[0].source for point in points if point.runs), plan.call.source),
            axes=plan.axes.told(),
            points=points,
            rounds=plan.rounds,
            duration_s=plan.call.duration_s,
            seed=plan.seed,
            percentile=plan.percentile,
            max_drop=plan.max_drop,
            dataset=None if plan.dataset is None else str(plan.dataset.path),
            warnings=(*self.warnings, *_doubts(points, plan.percentile)),
            complete=complete,
            target=plan.target,
        )
        return replace(report, recommended=recommend(report))

    def _evaluate(self, dataset: Dataset) -> None:
        """Measure accuracy once for each file and engine: threads do not change what a model says."""
        known: dict[tuple[str, str], Accuracy | None] = {}
        present = installed_engines()
        for place, point in enumerate(self.points):
            if point.model is None:
                continue
            engine = point.setting.engine if point.setting.engine in present else "auto"
            key = point.model.sha256, engine
            if key not in known:
                if engine != point.setting.engine:
                    self.warnings.append(f"accuracy is that of engine {present[0]}: {point.setting.engine} is not here")
                known[key] = self._accuracy(point, engine, dataset)
            self.points[place] = replace(point, accuracy=known[key])

    def _accuracy(self, point: SweepPoint, engine: str, dataset: Dataset) -> Accuracy | None:
        variant = self._variants[point.number]
        try:
            found = evaluate(variant.model, variant.spec, dataset, self.events, engine, usable_cores())
        except ModelError as error:
            self.events(Notice(f"{self._name(point)}: {error}", "warning"))
            return None
        if found.skipped:
            self.warnings.append(f"{len(found.skipped)} pictures of {dataset.path} cannot be read, and were left out")
        return accuracy_of(found)

    def _call(self, setting: Setting, variant: Variant) -> BenchCall:
        call = self.plan.call
        least = SAMPLES_FOR_P95 if self.plan.percentile == "p95" else 0
        return replace(
            call,
            model=variant.model,
            spec=variant.spec_path,
            duration_s=max(_LEAST_S, call.duration_s / self.plan.rounds),
            threads=setting.threads,
            engine=setting.engine,
            delegate=setting.delegate,
            runs=max(call.runs or 0, least) or None,
        )

    def _name(self, point: SweepPoint) -> str:
        return named(point.setting, [axis.name for axis in self.plan.axes.told()])


def with_latencies(points: Sequence[SweepPoint]) -> tuple[SweepPoint, ...]:
    """Return the points with what their rounds tell: their latency, and why it cannot be trusted."""
    factors = round_factors([point.runs for point in points])
    return tuple(
        replace(
            point,
            latency=latency_of(point.runs, factors if len(point.runs) == len(factors) else ()),
            disturbed=_disturbed(point.runs),
        )
        if point.runs
        else point
        for point in points
    )


def round_factors(points: Sequence[Sequence[BenchReport]]) -> tuple[float, ...]:
    """Return by how much each round was slower than the mean of all, as far as all points have it in common.

    Rounds are the blocks of a randomised complete block design (R. A. Fisher, The Design of Experiments, 1935): what
    the machine did to all points of a round, as a clock that falls while it warms up, says nothing about any of
    them. It is the mean of the points' own factors. Between two points, intervals that do not touch then say the
    same as a paired t-test over the rounds; between more they are more careful. Disturbed points do not count, and
    neither do those that lack a round; with less than two points there is nothing in common.

    Args:
        points: the rounds of each point.

    Returns:
        Factors whose product is 1, one for each round; none where they cannot be known.
    """
    count = max((len(runs) for runs in points), default=0)
    whole = [runs for runs in points if len(runs) == count and not any(disturbances(run) for run in runs)]
    if count < 2 or len(whole) < 2:
        return ()
    logs = np.log([[max(run.stages[STAGE].p50, _LEAST_MS) for run in runs] for runs in whole])
    common = (logs - logs.mean(axis=1, keepdims=True)).mean(axis=0)
    return tuple(float(factor) for factor in np.exp(common))


def latency_of(runs: Sequence[BenchReport], factors: Sequence[float] = ()) -> PointLatency:
    """Return a point's latency from its rounds, each with the stage ``work``.

    Rounds that were disturbed are left out, as long as one is not. Where there are several, the interval is Student's
    over the logarithms of the rounds' percentiles: processes of the same work differ by more than a single one can
    know, by where their memory lies, and by what the machine did meanwhile. Of one round it is the median's own, wider
    by what two processes may differ by.

    Args:
        runs: one round or more.
        factors: what each of them has in common with the other points' (see ``round_factors``) is taken out.
    """
    pairs = list(zip(runs, factors or (1.0,) * len(runs), strict=True))
    used = [pair for pair in pairs if not disturbances(pair[0])] or pairs
    stats = [(run.stages[STAGE], factor) for run, factor in used]
    own = stats[0][0].p50_interval
    p50, p50_interval = _mean_of([each.p50 / factor for each, factor in stats])
    tails = [each.p95 / factor for each, factor in stats if each.p95 is not None]
    p95, p95_interval = _mean_of(tails) if len(tails) == len(stats) else (None, None)
    return PointLatency(
        p50=p50,
        p95=p95,
        p50_interval=p50_interval if len(stats) > 1 else own and widened(own),
        p95_interval=p95_interval,
        frames=sum(each.count for each, _ in stats),
        rounds=len(stats),
    )


def accuracy_of(found: Evaluation) -> Accuracy:
    """Return the first figure of an evaluation, with where it may lie."""
    metric, value = next(iter(found.metrics.items()))
    bounds = found.interval()
    return Accuracy(metric, value, found.pictures, Interval(bounds.low, bounds.high))


def work_of(run: BenchReport) -> npt.NDArray[np.float64]:
    """Return what each frame cost, (n,) in ms: the stages of ``WORK`` together.

    Raises:
        EdgeError: the report has not the single frames of each of these stages.
    """
    columns = [run.samples_ms.get(stage, ()) for stage in WORK]
    if not columns[0] or len({len(column) for column in columns}) != 1:
        told = ", ".join(f"{len(column)} of {stage}" for stage, column in zip(WORK, columns, strict=True))
        raise EdgeError(f"the report of {run.model.name} has no complete frames: {told}")
    summed: npt.NDArray[np.float64] = np.array(columns, np.float64).sum(axis=0)
    return summed


def _mean_of(values: Sequence[float]) -> tuple[float, Interval | None]:
    """Return the geometric mean of one value or more, and where it lies."""
    logs = [math.log(max(value, _LEAST_MS)) for value in values]
    mean = statistics.fmean(logs)
    if len(logs) == 1:
        return math.exp(mean), None
    half = _T[len(logs) - 2] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), Interval(math.exp(mean - half), math.exp(mean + half))


def _compact(run: BenchReport) -> BenchReport:
    """Return a run with the stage ``work``, and without single samples and moments: they would be megabytes."""
    stages: dict[str, LatencyStats] = {**run.stages, STAGE: summarise(work_of(run))}
    return replace(run, stages=stages, samples_ms={}, during=())


def _disturbed(runs: Sequence[BenchReport]) -> tuple[str, ...]:
    """Return why no round of a point can be trusted; nothing when one can."""
    reasons = [disturbances(run) for run in runs]
    return () if not all(reasons) else tuple(dict.fromkeys(reason for each in reasons for reason in each))


def _doubts(points: Sequence[SweepPoint], percentile: str) -> list[str]:
    found = []
    runs = [run for point in points for run in point.runs]
    bad = sum(bool(disturbances(run)) for run in runs)
    if bad:
        found.append(f"{bad} of {len(runs)} measurements were disturbed; see each point")
    short = [point for point in points if point.latency is not None and getattr(point.latency, percentile) is None]
    if short:
        found.append(f"{len(short)} points have too few frames for {percentile}; measure longer")
    return found


def _without_steps(events: Events) -> Events:
    """Pass on all but the beginnings of steps: the sweep's own says more."""

    def pass_on(event: Event) -> None:
        if not isinstance(event, Step):
            events(event)

    return pass_on
