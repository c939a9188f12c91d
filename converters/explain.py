"""What can be said of a ``.tflite`` file: what runs where, in how many pieces, and where accuracy went."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from converters.backends.interface import InputFacts
from converters.calibration import Samples, collect_samples, generate_samples
from converters.describe import describe_tflite
from converters.errors import ConversionError
from converters.findings import Finding, RuntimeView, findings_of
from converters.interface import LayerError, PrepOptions, TaskOptions
from converters.jobs import CompareLayers, CountPartitions, LayerErrors
from converters.partitions import Partitions
from converters.process import open_worker
from converters.runtimes import runtimes, unsupported
from converters.tensor_samples import collect_tensors, generate_tensors
from converters.tflite_reader import TfliteInfo, read_tflite
from device_runtime.contract.events import Events, Step
from device_runtime.contract.model import ImagePrep, ModelSpec
from device_runtime.errors import ModelError, UnfitError, UsageError


@dataclass(frozen=True)
class ExplainRequest:
    """A model, and what to look for in it.

    ``against`` is a float version of it: then layers are compared, on ``samples`` of the files in ``calibration``
    chosen by ``seed``, or on generated ones. ``prep`` and ``task`` describe a model that does not describe itself.
    """

    model: Path
    against: Path | None = None
    calibration: Path | None = None
    samples: int = 16
    seed: int = 0
    runtimes: tuple[str, ...] = ("litert", "tflite-runtime")
    prep: PrepOptions = field(default_factory=PrepOptions)
    task: TaskOptions = field(default_factory=TaskOptions)


@dataclass(frozen=True)
class OperatorUse:
    """How often an operator occurs in a version, and the runtimes of those asked for that have it."""

    name: str
    version: int
    count: int
    runs_on: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """All that was found. ``layers`` are empty when there was nothing to compare with; ``samples`` served for them."""

    model: str
    size_bytes: int
    operators: tuple[OperatorUse, ...]
    runtimes: tuple[RuntimeView, ...]
    layers: tuple[LayerError, ...]
    samples: int
    generated: bool
    findings: tuple[Finding, ...]


def explain(request: ExplainRequest, events: Events) -> Explanation:
    """Look into a model.

    Raises:
        ModelError: it is no model, or damaged.
        UsageError: how to prepare samples cannot be known without an option.
        ConversionError: the float version is one of another model.
        BadFileError: the samples cannot be used.
    """
    info = read_tflite(request.model)
    layers: tuple[LayerError, ...] = ()
    count, generated = 0, False
    with tempfile.TemporaryDirectory(prefix="edgekit-") as name:
        folder = Path(name)
        views = tuple(_view(request, info, runtime, folder, events) for runtime in request.runtimes)
        float_info = None
        if request.against is not None:
            float_info = read_tflite(request.against)
            samples, float_prep, prep = _samples(request, request.against, folder, events)
            count, generated = len(samples.names), samples.generated
            layers = _layers(request, request.against, samples, (float_prep, prep), folder, events)
    found = findings_of(info, views, layers, float_info)
    return Explanation(
        str(request.model), info.size_bytes, _operators(info, request.runtimes), views, layers, count, generated, found
    )


def _operators(info: TfliteInfo, wanted: tuple[str, ...]) -> tuple[OperatorUse, ...]:
    refused = {name: {(item.operator, item.version) for item in unsupported(info, name)} for name in wanted}
    return tuple(
        OperatorUse(name, version, count, tuple(each for each in wanted if (name, version) not in refused[each]))
        for (name, version), count in info.operator_counts.items()
    )


def _view(request: ExplainRequest, info: TfliteInfo, runtime: str, folder: Path, events: Events) -> RuntimeView:
    """Look at the model on one runtime; that it cannot be loaded is a finding, too."""
    refused = unsupported(info, runtime)
    version = runtimes()[runtime].version
    if refused:
        return RuntimeView(runtime, version, refused)
    events(Step(f"load the model on {runtime}"))
    try:
        with open_worker(folder, events) as worker:
            job = CountPartitions(str(request.model), runtime)
            found = worker.call(job, Partitions, f"load the model on {runtime}")
    except UnfitError:
        return RuntimeView(runtime, version, installed=False)
    except (ModelError, ConversionError) as error:
        return RuntimeView(runtime, version, trouble=str(error))
    return RuntimeView(runtime, found.engine_version, partitions=found)


def _samples(
    request: ExplainRequest, against: Path, folder: Path, events: Events
) -> tuple[Samples, ImagePrep | None, ImagePrep | None]:
    """Return samples on disk, and what each version makes of a picture: the float one, and the model."""
    spec = describe_tflite(request.model, request.prep, request.task, None)
    if spec.prep is None:
        inputs = tuple(
            InputFacts(tensor.name, tensor.shape, tensor.dtype) for tensor in _described(against, spec).inputs
        )
        target = folder / "samples.npy"
        if request.calibration is None:
            return generate_tensors(inputs, request.seed, target), None, None
        found = collect_tensors(request.calibration, inputs, request.samples, request.seed, target, events)
        return found, None, None
    float_prep = _described(against, spec).prep
    target = folder / "samples.npy"
    if request.calibration is None:
        return generate_samples(spec.prep, request.seed, target), float_prep, spec.prep
    found = collect_samples(request.calibration, spec.prep, request.samples, request.seed, target, events)
    return found, float_prep, spec.prep


def _described(against: Path, spec: ModelSpec) -> ModelSpec:
    """Return the spec of the float version; one that does not describe itself takes the same real values."""
    try:
        return describe_tflite(against, PrepOptions(), TaskOptions(), None)
    except (UsageError, ModelError):
        return spec


def _layers(
    request: ExplainRequest,
    against: Path,
    samples: Samples,
    preps: tuple[ImagePrep | None, ImagePrep | None],
    folder: Path,
    events: Events,
) -> tuple[LayerError, ...]:
    events(Step(f"compare layers with {against} on {len(samples.names)} samples"))
    files = tuple(str(path) for path in samples.paths)
    job = CompareLayers(str(against), str(request.model), files, *preps, request.samples)
    with open_worker(folder, events) as worker:
        return worker.call(job, LayerErrors, "compare the layers").layers
