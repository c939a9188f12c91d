"""The first stage of a conversion: the trained model opened, run on samples, and exported to float TFLite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from converters.arrays import open_array
from converters.backends.interface import SourceFacts, SourceOptions
from converters.calibration import Samples, collect_samples, generate_samples
from converters.interface import ConvertRequest
from converters.jobs import Done, ExportFloat, OpenSource, Outputs, RunSource, Tidy
from converters.parity.scores import Truth
from converters.plan import ConversionPlan, plan_conversion
from converters.process import Worker, open_worker
from converters.registry import backend_for
from converters.sets import MOST, plan_split, subset
from device_runtime.contract.events import Events, Notice, Step
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
    with open_worker(folder, events) as worker:
        facts = _open(worker, request, events)
        plan = plan_conversion(facts, request, takes_bytes=takes_bytes)
        samples = _samples(request, facts, plan, folder, events)
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
    if prep is None:
        raise NotImplementedError(facts)
    if request.calibration is None:
        events(Notice("no --calibration folder: the result is compared on generated pictures only", "warning"))
        return generate_samples(prep, request.seed, target)
    events(Step(f"prepare pictures of {request.calibration}"))
    count = request.samples + 2 * MOST if request.recipe == AUTO else request.samples
    return collect_samples(request.calibration, prep, count, request.seed, target, events)


def _split(
    worker: Worker, request: ConvertRequest, samples: Samples, plan: ConversionPlan, folder: Path, events: Events
) -> tuple[Samples, EvaluationSets]:
    """Split the samples: those that calibrate, and the two sets of a search."""
    split = plan_split([str(Path(name).parent) for name in samples.names], request.samples)
    evaluation, held_out = (
        EvaluationSet(_evidence(worker, subset(samples, rows, folder / f"{name}.npy"), plan, folder / name, events))
        for name, rows in (("evaluation", split.evaluation), ("held-out", split.held_out))
    )
    return subset(samples, split.calibration, folder / "calibrating.npy"), (evaluation, held_out)


def _evidence(worker: Worker, samples: Samples, plan: ConversionPlan, folder: Path, events: Events) -> Evidence:
    events(Step(f"run the trained model on {len(samples.names)} samples"))
    folder.mkdir()
    run = RunSource(tuple(str(path) for path in samples.paths), plan.source_prep, str(folder))
    outputs = worker.call(run, Outputs, "run the trained model")
    return Evidence(samples, [open_array(Path(outputs.files[index])) for index in plan.order])
