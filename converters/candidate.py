"""One quantised model: made by a recipe, then loaded, run and compared with the trained one where it will live."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.arrays import open_array
from converters.describe import tensor_specs
from converters.errors import ConversionError
from converters.interface import ConvertRequest, ParityReport
from converters.jobs import Calibrate, Done, Outputs, Quantise, RunModel
from converters.op_versions import require_versions
from converters.parity.compare import compare, require_parity
from converters.process import Worker, open_worker
from converters.recipe import RECIPES, QuantRecipe
from converters.source_stage import Evidence, FloatModel
from converters.tflite_reader import read_tflite
from device_runtime.contract.events import Events, Step
from device_runtime.contract.model import ImagePrep, ModelSpec, Provenance
from device_runtime.errors import ModelError
from device_runtime.vision.frame import Tensor

_FLOAT_CHECK_SAMPLES = 8


@dataclass(frozen=True)
class Made:
    """A file that a recipe made, and what it is said to be."""

    recipe: QuantRecipe
    path: Path
    spec: ModelSpec


class Maker:
    """Makes quantised models of one float model; ranges are measured once, when the first recipe needs them."""

    def __init__(self, request: ConvertRequest, source: FloatModel, folder: Path, worker: Worker) -> None:
        self._request = request
        self._source = source
        self._folder = folder
        self._worker = worker
        self._ranges: Path | None = None
        self._count = 0

    def make(self, recipe: QuantRecipe, events: Events) -> Made:
        """Apply a recipe.

        Raises:
            ConversionError: the model has something that the recipe cannot quantise.
        """
        plan = self._source.plan
        ranges = self.ranges(events) if recipe.calibrates else None
        self._count += 1
        path = self._folder / f"made-{self._count}.tflite"
        events(Step(f"apply recipe {recipe.name}"))
        job = Quantise(
            str(self._source.model), str(path), recipe, str(ranges) if ranges else "", plan.encoding_of(recipe)
        )
        done = self._worker.call(job, Done, f"apply recipe {recipe.name}")
        tools = {**self._source.facts.tools, **done.tools}
        return Made(recipe, path, spec_of(self._request, self._source, recipe, path, plan.prep_of(recipe), tools))

    def ranges(self, events: Events) -> Path:
        """Return the file of the float model's ranges, measured when they are asked for first."""
        if self._ranges is None:
            source = self._source
            events(Step(f"measure ranges on {len(source.evidence.samples.names)} samples"))
            target = self._folder / "ranges.npz"
            job = Calibrate(str(source.model), str(target), source.evidence.files, source.plan.float_prep)
            self._worker.call(job, Done, "measure the ranges of the float model")
            self._ranges = target
        return self._ranges


def require_same_float(request: ConvertRequest, source: FloatModel, folder: Path, events: Events) -> None:
    """Check that the exported float model is still the trained one, before any recipe is applied to it.

    Raises:
        ConversionError: it is not.
    """
    recipe, prep = RECIPES["float32"], source.plan.float_prep
    job = RunModel(str(source.model), prep, source.evidence.files, str(folder), "auto", _FLOAT_CHECK_SAMPLES)
    with open_worker(folder, events) as worker:
        outputs = _run(worker, job, recipe)
    spec = spec_of(request, source, recipe, source.model, prep, {})
    arrays = [open_array(Path(file)) for file in outputs.files]
    report = compare(source.evidence.outputs, arrays, spec, source.evidence.samples.names)
    require_parity(report, recipe, "the float32 model that the framework exported")


def verify(made: Made, evidence: Evidence, runtime: str, folder: Path, events: Events) -> ParityReport:
    """Prove a file on one runtime: operator versions, that it loads and runs, and that it says what the source says.

    Raises:
        ConversionError: it is not right, or cannot be loaded or run.
    """
    samples = evidence.samples
    events(Step(f"run the {made.recipe.name} model on {runtime} and compare it with the trained one"))
    with open_worker(folder, events) as worker, answers(made, evidence, runtime, folder, worker) as outputs:
        report = compare(evidence.outputs, outputs, made.spec, samples.names, generated=samples.generated)
    require_parity(report, made.recipe, f"the {made.recipe.name} model on {runtime}")
    return report


@contextlib.contextmanager
def answers(made: Made, evidence: Evidence, runtime: str, folder: Path, worker: Worker) -> Iterator[list[Tensor]]:
    """Give a file's own outputs for the samples: real values, each (n, …) float32, on disk until the block is left.

    Raises:
        ConversionError: an operator states too low a version, or it cannot be loaded or run.
    """
    require_versions(read_tflite(made.path), f"the {made.recipe.name} model")
    with tempfile.TemporaryDirectory(dir=folder) as target:
        outputs = _run(worker, RunModel(str(made.path), made.spec.prep, evidence.files, target, runtime), made.recipe)
        if outputs.inputs != made.spec.inputs or outputs.outputs != made.spec.outputs:
            raise ConversionError(
                f"{runtime} sees other tensors in the converted model than its file tells: expected "
                f"{made.spec.inputs} and {made.spec.outputs}, got {outputs.inputs} and {outputs.outputs}"
            )
        yield [open_array(Path(file)) for file in outputs.files]


def spec_of(
    request: ConvertRequest,
    source: FloatModel,
    recipe: QuantRecipe,
    model: Path,
    prep: ImagePrep | None,
    tools: dict[str, str],
) -> ModelSpec:
    """Return the ModelSpec of a file that was made.

    Raises:
        ConversionError: the file is not what was planned.
    """
    info = read_tflite(model)
    plan = source.plan
    provenance = Provenance(
        request.source.name, source.sha256, recipe.name, source.evidence.samples.sha256, dict(sorted(tools.items()))
    )
    try:
        return ModelSpec(
            request.output.stem,
            plan.task,
            prep,
            tensor_specs(info.inputs, "the converted model"),
            tensor_specs(info.outputs, "the converted model"),
            plan.labels,
            provenance,
        )
    except ValueError as error:
        raise ConversionError(f"the converted model is not what was planned: {error}") from error


def _run(worker: Worker, job: RunModel, recipe: QuantRecipe) -> Outputs:
    """Run a model that this conversion made: when it cannot be run, the conversion is what failed."""
    try:
        return worker.call(job, Outputs, f"run the {recipe.name} model")
    except ModelError as error:
        reason = str(error).replace(f"{job.model}: ", "")
        raise ConversionError(
            f"the {recipe.name} model that was made cannot be used: {reason}", hint="try another one: --recipe float32"
        ) from error
