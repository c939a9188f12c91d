"""The first stage of a conversion: the trained model opened, run on samples, and exported to float TFLite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from converters.arrays import open_array
from converters.backends.interface import SourceFacts, SourceOptions
from converters.calibration import Samples, collect_samples, generate_samples
from converters.calibration_checks import one_answer
from converters.gathering import Choice
from converters.interface import ConvertRequest
from converters.jobs import Done, ExportFloat, Fits, MeasureFits, OpenSource, Outputs, RunSource, Tidy
from converters.labelled import Answers, Labelled, collect_labelled
from converters.parity.scores import Truth
from converters.plan import ConversionPlan, plan_conversion
from converters.process import Worker, open_worker
from converters.registry import backend_for, environment_for
from converters.sets import MOST, digests, plan_split, subset, unseen
from converters.tensor_samples import collect_tensors, generate_tensors
from converters.training_fit import judge, other_preps, require_fit
from device_runtime.contract.events import Events, Notice, Step
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import sha256_of
from device_runtime.vision.frame import Tensor

AUTO = "auto"
"""The recipe that stands for a search."""


@dataclass(frozen=True)
class Evidence:
    """Samples, and what the trained model says of each: its outputs, in the order of the ModelSpec's."""

    samples: Samples
    outputs: list[Tensor]

    @property
    def files(self) -> tuple[str, ...]:
        """The files of the samples, as jobs take them."""
        return tuple(str(path) for path in self.samples.paths)


@dataclass(frozen=True)
class EvaluationSet:
    """Samples with the trained model's answers, and what is in them where somebody has said it."""

    evidence: Evidence
    truths: Sequence[Truth] | None = None

    @property
    def count(self) -> int:
        """How many samples there are."""
        return len(self.evidence.samples.names)


EvaluationSets = tuple[EvaluationSet, EvaluationSet]
"""What a search compares candidates with, and what it confirms the winner with: samples that are not calibrated on."""


@dataclass(frozen=True)
class FloatModel:
    """What the first stage leaves: a tidy float TFLite model, and the trained model's own answers.

    ``size`` is the source's in bytes, ``sha256`` its digest; of a function that makes a model, those of the exported
    one. ``sets`` are for a search only.
    """

    facts: SourceFacts
    plan: ConversionPlan
    model: Path
    evidence: Evidence
    sha256: str
    size: int
    sets: EvaluationSets | None = None


def make_float_model(request: ConvertRequest, folder: Path, events: Events, *, takes_bytes: bool) -> FloatModel:
    """Open the source, run it on samples, and export it.

    Args:
        request: what to convert.
        folder: for what is made.
        events: hears of progress.
        takes_bytes: whether a model that takes camera bytes is to be made of it.

    Raises:
        UsageError: something about the model cannot be known, and the message names the option that tells it.
        BadFileError: the model, the samples or the labels cannot be used.
        ConversionError: the framework failed.
    """
    exported, tidied = folder / "exported.tflite", folder / "float.tflite"
    with open_worker(folder, events, environment_for(request.source)) as worker:
        facts = _open(worker, request, events)
        plan = plan_conversion(facts, request, takes_bytes=takes_bytes)
        samples = _samples(request, facts, plan, folder, events)
        plan = replace(plan, warnings=plan.warnings + _doubts_of_training(worker, samples, plan, str(request.source)))
        sets = None
        if request.recipe == AUTO:
            samples, sets = _split(worker, request, samples, plan, folder, events)
        evidence = _evidence(worker, samples, plan, folder / "calibration", events)
        events(Step("convert to float32 TFLite"))
        worker.call(ExportFloat(str(exported), plan.export), Done, "convert to float32 TFLite")
    with open_worker(folder, events) as worker:
        names = tuple(tensor.name for tensor in facts.inputs)
        outputs = tuple(output.name for output in facts.outputs)
        tidy = Tidy(str(exported), str(tidied), ("image",) if facts.image else names, outputs, plan.order)
        worker.call(tidy, Done, "read the float32 model")
    exists = request.source.exists()
    digest, size = digest_of(request.source if exists else tidied)
    return FloatModel(facts, plan, tidied, evidence, digest, size, sets)


def digest_of(source: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size in bytes of a file, or of all files in a folder with their names."""
    if source.is_file():
        return sha256_of(source), source.stat().st_size
    files = sorted(path for path in source.rglob("*") if path.is_file())
    lines = [f"{sha256_of(path)}  {path.relative_to(source).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest(), sum(path.stat().st_size for path in files)


def _open(worker: Worker, request: ConvertRequest, events: Events) -> SourceFacts:
    events(Step(f"load {request.source.name}"))
    source = str(request.source.absolute() if request.source.exists() else request.source)
    options = SourceOptions(request.signature, request.input_shapes)
    return worker.call(OpenSource(backend_for(request.source), source, options), SourceFacts, f"load {request.source}")


def _samples(
    request: ConvertRequest, facts: SourceFacts, plan: ConversionPlan, folder: Path, events: Events
) -> Samples:
    target = folder / "samples.npy"
    prep = plan.source_prep
    inputs = [replace(tensor, shape=shape) for tensor, shape in zip(facts.inputs, plan.export.shapes, strict=True)]
    if request.calibration is None:
        events(Notice("no --calibration folder: the result is compared on generated samples only", "warning"))
        return generate_samples(prep, request.seed, target) if prep else generate_tensors(inputs, request.seed, target)
    events(Step(f"prepare {'pictures' if prep else 'samples'} of {request.calibration}"))
    searches = request.recipe == AUTO and request.search.evaluation is None
    count = request.samples + 2 * MOST if searches else request.samples
    if prep is None:
        return collect_tensors(request.calibration, inputs, count, request.seed, target, events)
    return collect_samples(request.calibration, prep, count, request.seed, target, events)


def _doubts_of_training(worker: Worker, samples: Samples, plan: ConversionPlan, where: str) -> tuple[str, ...]:
    """Hold the declared normalisation against what the model remembers of its training, where it remembers."""
    if plan.source_prep is None or samples.generated:
        return ()
    preps = (plan.source_prep, *other_preps(plan.source_prep))
    fits = worker.call(MeasureFits(str(samples.paths[0]), preps), Fits, "look at the first layers")
    return require_fit(judge(preps, fits.misfits), where)


def _split(
    worker: Worker, request: ConvertRequest, samples: Samples, plan: ConversionPlan, folder: Path, events: Events
) -> tuple[Samples, EvaluationSets]:
    """Split the samples: those that calibrate, and the two sets of a search, labelled ones where they are given."""
    pool, truths = samples, None
    if request.search.evaluation is None:
        split = plan_split([str(Path(name).parent) for name in samples.names], request.samples)
        samples = subset(pool, split.calibration, folder / "calibrating.npy")
    else:
        labelled = _labelled(request, plan, folder, events)
        pool, truths = labelled.samples, labelled.truths
        split = plan_split(labelled.groups, 0)
    known = digests(samples)
    sets = []
    for name, rows in (("evaluation", split.evaluation), ("held-out", split.held_out)):
        fresh = unseen(pool, rows, known)
        if len(fresh) < len(rows):
            overlap = f"{len(rows) - len(fresh)} of {len(rows)} {name} samples are in the calibration set: left out"
            events(Notice(overlap, "warning"))
        if not fresh:
            raise BadFileError(
                f"all {name} samples are in the calibration set too: nothing would be proved by them",
                hint="give pictures that are in no other set: --evaluation DATASET",
            )
        known |= digests(pool, fresh)
        evidence = _evidence(worker, subset(pool, fresh, folder / f"{name}.npy"), plan, folder / name, events)
        sets.append(EvaluationSet(evidence, None if truths is None else [truths[row] for row in fresh]))
    return samples, (sets[0], sets[1])


def _labelled(request: ConvertRequest, plan: ConversionPlan, folder: Path, events: Events) -> Labelled:
    if plan.source_prep is None or request.search.evaluation is None:
        raise UsageError(f"{request.source} takes tensors: --evaluation is for models that take pictures")
    events(Step(f"prepare labelled pictures of {request.search.evaluation}"))
    means = Answers(plan.task, plan.labels, [output.shape for output in plan.outputs])
    target = folder / "labelled.npy"
    return collect_labelled(
        request.search.evaluation, plan.source_prep, means, Choice(2 * MOST, request.seed), target, events
    )


def _evidence(worker: Worker, samples: Samples, plan: ConversionPlan, folder: Path, events: Events) -> Evidence:
    events(Step(f"run the trained model on {len(samples.names)} samples"))
    folder.mkdir()
    run = RunSource(tuple(str(path) for path in samples.paths), plan.source_prep, str(folder))
    outputs = worker.call(run, Outputs, "run the trained model")
    evidence = Evidence(samples, [open_array(Path(outputs.files[index])) for index in plan.order])
    doubt = "" if samples.generated or plan.task.name != "classification" else one_answer(evidence.outputs)
    if doubt:
        events(Notice(doubt, "warning"))
    return evidence
