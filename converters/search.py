"""``--recipe auto``: tries recipes, holds each against the budget, and takes the best that keeps it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from converters.candidate import Made, Maker, answers
from converters.choice import advice, best_first, confirm, guilty_layers, judged, with_frontier
from converters.errors import BudgetMissedError, ConversionError
from converters.interface import Candidate, Confirmation, ConvertRequest, LayerError, SearchReport, SplitSizes
from converters.jobs import (
    CompareLayers,
    CountPartitions,
    LayerErrors,
    MeasureSensitivity,
    Sensitivities,
    TimeModels,
    Timings,
)
from converters.parity.compare import compare, require_parity
from converters.parity.scores import METRIC_OF_TASK, Measured, Scorer
from converters.partitions import Partitions
from converters.process import Worker
from converters.recipe import RECIPES, QuantRecipe
from converters.recipe_formula import formula_of
from converters.source_stage import EvaluationSet, EvaluationSets, FloatModel
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import Events, Step
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.files import sha256_of

FLOAT = "float32"
BASE = "static-int8"
"""What mixed recipes are made of."""

_BASICS = (FLOAT, "float16", "dynamic-int8", "weight-only-int8", BASE, "static-int4", "weight-only-int4")
_INTEGER_KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Where integers pay most: the operators with weights."""

_KEPT_LAYERS = (1, 2, 4, 8, 16)
"""How many of the most sensitive layers a mixed recipe keeps in float, until the budget is kept."""

_LOOKED_AT = 8
"""Samples that layers are compared on."""

_SEED = 0


@dataclass
class _Tried:
    """A recipe that was tried: its file, if one could be made, and its answers by runtime."""

    candidate: Candidate
    made: Made | None = None


@dataclass
class Search:
    """One search, step by step."""

    request: ConvertRequest
    source: FloatModel
    sets: EvaluationSets
    folder: Path
    worker: Worker
    events: Events
    _tried: dict[str, _Tried] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _engines: dict[str, Worker] = field(default_factory=dict)
    _layers: tuple[LayerError, ...] = ()
    _sensitivity: tuple[LayerError, ...] = ()
    _outside: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options, task = self.request.search, self.source.plan.task.name
        labelled = self.sets[0].truths is not None
        self._maker = Maker(self.request, self.source, self.folder, self.worker)
        self._float = self._maker.make(RECIPES[FLOAT], self.events)
        self._metric = options.metric or (METRIC_OF_TASK.get(task, "agreement") if labelled else "agreement")
        self._scorers = tuple(self._scorer(each) for each in self.sets)
        self._baselines = tuple(
            scorer.measure(each.evidence.outputs) for scorer, each in zip(self._scorers, self.sets, strict=True)
        )

    def run(self) -> tuple[Made, SearchReport]:
        """Try recipes, and return the best that keeps the budget, also on the held-out set.

        Raises:
            BudgetMissedError: there is none; it carries the report.
        """
        started = time.monotonic()
        try:
            for name in _BASICS:
                self._try(RECIPES[name])
            self._try_mixed()
            self._time()
            chosen, confirmation = self._confirmed()
        finally:
            for worker in self._engines.values():
                worker.close()
        report = self._report(chosen, confirmation, time.monotonic() - started)
        if chosen is None or chosen.made is None:
            raise missed(report)
        return _reproducible(chosen.made), report

    @contextlib.contextmanager
    def _on(self, runtime: str) -> Iterator[Worker]:
        """Give the process that runs models on ``runtime``; after any error in it, the next one is a fresh one."""
        worker = self._engines.get(runtime) or Worker(self.folder, self.events)
        self._engines[runtime] = worker
        try:
            yield worker
        except BaseException:
            self._engines.pop(runtime).close()
            raise

    def _try(self, recipe: QuantRecipe) -> _Tried | None:
        """Make, run and score a candidate; a failure is a finding, and ends nothing but this candidate."""
        if not any(fnmatchcase(recipe.name, pattern) for pattern in self.request.search.candidates):
            return None
        try:
            made = self._maker.make(recipe, self.events)
            digest = sha256_of(made.path)
            same = self._digests.setdefault(digest, recipe.name)
            if same != recipe.name:
                tried = _Tried(Candidate(recipe.name, recipe, "left-out", f"the same file as {same}"))
            else:
                tried = _Tried(self._scored(made), made)
        except Interrupted:
            raise
        except EdgeError as error:
            tried = _Tried(Candidate(recipe.name, recipe, "refused", str(error)))
        self._tried[recipe.name] = tried
        return tried

    def _scored(self, made: Made) -> Candidate:
        """Run a candidate on every declared runtime; the one that loses most counts."""
        evaluation = self.sets[0]
        worst: Measured | None = None
        snr = float("inf")
        for runtime in self.request.runtimes:
            self.events(Step(f"score {made.recipe.name} on {runtime}"))
            with (
                self._on(runtime) as worker,
                answers(made, evaluation.evidence, runtime, self.folder, worker) as outputs,
            ):
                report = compare(evaluation.evidence.outputs, outputs, made.spec, evaluation.evidence.samples.names)
                measured = self._scorers[0].measure(outputs)
            require_parity(report, made.recipe, f"the {made.recipe.name} model on {runtime}")
            snr = min(snr, *(output.snr_db for output in report.outputs))
            if worst is None or measured.value < worst.value:
                worst = measured
        if worst is None:
            raise ConversionError(f"the {made.recipe.name} model was run on no runtime")
        partitions = self._count_partitions(made)
        candidate = Candidate(
            made.recipe.name,
            made.recipe,
            "ok",
            size_bytes=made.path.stat().st_size,
            metric=worst.value,
            drop=worst.drop_from(self._baselines[0], _SEED),
            snr_db=snr,
            partitions={each.engine: each.count for each in partitions},
        )
        return judged(candidate, self.request.search)

    def _count_partitions(self, made: Made) -> list[Partitions]:
        found = []
        for runtime in self.request.runtimes:
            with self._on(runtime) as worker:
                found.append(worker.call(CountPartitions(str(made.path), runtime), Partitions, "load the model"))
        if made.recipe.name == BASE:
            self._outside = {each.engine: {reference.operator for reference in each.outside} for each in found}
        return found

    def _try_mixed(self) -> None:
        """Try variants of the integer recipe: equalised, in fewer pieces, and with its most sensitive layers in float.

        Sensitive layers are kept in float until the budget is kept: more would only make the model slower.
        """
        base = RECIPES[BASE]
        self._try(_variant(base, "equalise", equalise=True))
        tried = self._tried.get(BASE)
        if tried is None or tried.made is None:
            return
        self._look_into(tried.made)
        mixed = [base, *self._without_breaks(base, tried.candidate)]
        if any(self._keeps_budget(recipe) for recipe in mixed):
            return
        for count in _KEPT_LAYERS:
            worst = tuple(layer.name for layer in self._sensitivity[:count])
            if len(worst) < count:
                return
            found = [self._try(_variant(recipe, f"{count}-float", keep_float=worst)) for recipe in mixed]
            if any(each and each.candidate.status == "ok" for each in found):
                return

    def _look_into(self, made: Made) -> None:
        """Find out where the integer model loses accuracy, and which operators break it into pieces."""
        source, evidence = self.source, self.sets[0].evidence
        self.events(Step(f"measure what each layer of the {made.recipe.name} model costs"))
        ranges = str(self._maker.ranges(self.events))
        sensitivity = MeasureSensitivity(
            str(source.model), made.recipe, ranges, evidence.files, source.plan.float_prep, _LOOKED_AT
        )
        self._sensitivity = self.worker.call(sensitivity, Sensitivities, "measure what each layer costs").layers
        layers = CompareLayers(
            str(source.model), str(made.path), evidence.files, source.plan.float_prep, made.spec.prep, _LOOKED_AT
        )
        with self._on(self.request.runtimes[0]) as worker:
            self._layers = worker.call(layers, LayerErrors, "compare the layers").layers

    def _without_breaks(self, base: QuantRecipe, candidate: Candidate) -> list[QuantRecipe]:
        """Try to keep in float what the delegate has no integer kernels for; return the recipes that were made."""
        outside = {name for runtime in candidate.partitions for name in self._outside[runtime]}
        if not outside:
            return []
        present = {operator.name for operator in read_tflite(self.source.model).main.operators}
        others = tuple(sorted(present - set(_INTEGER_KERNELS)))
        breaking = tuple(sorted(outside & present - set(_INTEGER_KERNELS)))
        recipes = []
        if breaking:
            recipes.append(_variant(base, f"float({','.join(breaking)})", keep_float=breaking))
        if others and others != breaking:
            recipes.append(_variant(base, "weighted-layers-only", keep_float=others))
        made = [recipe for recipe in recipes if (tried := self._try(recipe)) and tried.made]
        return [recipe for recipe in made if self._tried[recipe.name].candidate.status in ("ok", "missed")]

    def _keeps_budget(self, recipe: QuantRecipe) -> bool:
        tried = self._tried.get(recipe.name)
        return tried is not None and tried.candidate.status == "ok"

    def _time(self) -> None:
        """Time all candidates that can be chosen, in turns, on every declared runtime."""
        timed = [each for each in self._tried.values() if each.made and each.candidate.status in ("ok", "missed")]
        threads = (1, 2) if (os.cpu_count() or 1) > 1 else (1,)
        for runtime in self.request.runtimes:
            for count in threads:
                self.events(Step(f"time {len(timed)} candidates on {runtime} with {count} thread{'s'[: count - 1]}"))
                files = tuple(str(each.made.path) for each in timed if each.made)
                with self._on(runtime) as worker:
                    found = worker.call(TimeModels(files, runtime, count), Timings, "time the candidates")
                for each, p50 in zip(timed, found.p50_ms, strict=True):
                    known = each.candidate.latency_ms
                    latency = {**known, runtime: {**known.get(runtime, {}), str(count): p50}}
                    each.candidate = replace(each.candidate, latency_ms=latency)

    def _confirmed(self) -> tuple[_Tried | None, Confirmation | None]:
        """Return the best candidate that keeps the budget on samples that no decision was made with."""
        options, held_out = self.request.search, self.sets[1]
        for candidate in best_first([each.candidate for each in self._tried.values()], options.optimize):
            tried = self._tried[candidate.name]
            if tried.made is None:
                continue
            worst = min((self._held_out(tried.made, runtime) for runtime in self.request.runtimes), key=_value)
            drop = worst.drop_from(self._baselines[1], _SEED)
            if drop.value <= options.max_drop:
                baseline = self._baselines[1].value
                return tried, confirm(drop, worst.interval(_SEED), baseline, held_out.count, options.max_drop)
            reason = f"{drop.value:.2f} points less than the trained model on {held_out.count} held-out samples"
            tried.candidate = replace(candidate, status="missed", reason=reason)
        return None, None

    def _held_out(self, made: Made, runtime: str) -> Measured:
        self.events(Step(f"confirm {made.recipe.name} on {runtime}, with samples that were held out"))
        evidence = self.sets[1].evidence
        with self._on(runtime) as worker, answers(made, evidence, runtime, self.folder, worker) as outputs:
            return self._scorers[1].measure(outputs)

    def _scorer(self, given: EvaluationSet) -> Scorer:
        spec: ModelSpec = self._float.spec
        return Scorer(self._metric, spec, given.evidence.outputs, given.truths)

    def _report(self, chosen: _Tried | None, confirmation: Confirmation | None, seconds: float) -> SearchReport:
        options = self.request.search
        candidates = with_frontier([each.candidate for each in self._tried.values()], options.optimize)
        guilty = guilty_layers(self._sensitivity or self._layers)
        return SearchReport(
            self.request.source.name,
            options,
            self._metric,
            self.request.runtimes,
            self._baselines[0].value,
            candidates,
            chosen.candidate.name if chosen else None,
            SplitSizes(len(self.source.evidence.samples.names), self.sets[0].count, self.sets[1].count),
            confirmation,
            self._layers,
            guilty,
            advice(candidates, options, guilty, confirmation),
            seconds,
        )


def missed(report: SearchReport) -> BudgetMissedError:
    """Return the error that says what was tried, what came nearest, and what would help."""
    scored = [each for each in report.candidates if each.drop is not None]
    nearest = min(scored, key=lambda each: each.drop.value if each.drop else 0.0, default=None)
    if nearest is None or nearest.drop is None:
        reasons = "; ".join(f"{each.name}: {each.reason}" for each in report.candidates)
        told = f"none could be run ({reasons or 'none was allowed'})"
    else:
        told = (
            f"the nearest is {nearest.name} with {nearest.size_bytes} bytes, {nearest.drop.value:.2f} points below the "
            f"trained model's {report.metric} of {report.baseline:.4f} on {report.pictures.evaluation} samples"
        )
    limit = f"a drop of at most {report.options.max_drop:g} points"
    if report.options.max_bytes:
        limit += f" in at most {report.options.max_bytes} bytes"
    guilty = f"; most is lost in {', '.join(report.guilty)}" if report.guilty else ""
    return BudgetMissedError(
        f"no candidate of {len(report.candidates)} keeps the budget, {limit}: {told}{guilty}",
        hint="; ".join(report.advice),
        report=report,
    )


def _reproducible(made: Made) -> Made:
    """Call a variant's recipe by its formula: what a model is said to be made by can be given to ``--recipe``."""
    provenance = made.spec.provenance
    if made.recipe.name in RECIPES or provenance is None:
        return made
    recipe = replace(made.recipe, name=formula_of(made.recipe))
    return Made(recipe, made.path, replace(made.spec, provenance=replace(provenance, recipe=recipe.name)))


def _variant(base: QuantRecipe, what: str, *, keep_float: tuple[str, ...] = (), equalise: bool = False) -> QuantRecipe:
    """Return a recipe like ``base`` that is called after what is different."""
    return replace(
        base, name=f"{base.name}+{what}", keep_float=base.keep_float + keep_float, equalise=base.equalise or equalise
    )


def _value(measured: Measured) -> float:
    return measured.value
