"""The way of a conversion: source, float32 TFLite, recipe, final bytes run by the board's own code, files written."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.arrays import open_array
from converters.backends.interface import SourceFacts
from converters.calibration import Samples, collect_samples, generate_samples
from converters.describe import spec_beside, tensor_specs
from converters.errors import ConversionError
from converters.interface import ConversionResult, ConvertRequest, ParityReport
from converters.jobs import Done, ExportFloat, OpenSource, Outputs, Quantise, RunModel, RunSource
from converters.op_versions import require_versions
from converters.parity.compare import compare, require_parity
from converters.plan import ConversionPlan, plan_conversion
from converters.process import Worker, open_worker
from converters.recipe import RECIPES, QuantRecipe, recipe_named
from converters.registry import backend_for
from converters.tflite_reader import TfliteInfo, read_tflite
from device_runtime import __version__
from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Events, Notice, Step
from device_runtime.contract.model import ImagePrep, ModelSpec, Provenance
from device_runtime.errors import ModelError, UsageError
from device_runtime.files import refused, replacing, sha256_of
from device_runtime.vision.frame import Tensor

_FLOAT_CHECK_SAMPLES = 8
_DOUBTFUL_AGREEMENT = 0.9


@dataclass(frozen=True)
class Evidence:
    """Pictures, and what the trained model says of each: its outputs, in the order of the ModelSpec's."""

    samples: Samples
    outputs: list[Tensor]


@dataclass(frozen=True)
class _Source:
    """What the first stage leaves: the exported float model and the trained model's own answers."""

    facts: SourceFacts
    sha256: str
    plan: ConversionPlan
    model: Path
    evidence: Evidence


def convert(request: ConvertRequest, events: Events) -> ConversionResult:
    """Convert a trained model; see ``converters.convert``."""
    recipe = recipe_named(request.recipe)
    backend = backend_for(request.source)
    _check_request(request, recipe)
    with _workspace() as folder:
        source = _open_and_export(request, recipe, backend, folder, events)
        tools = {"python": sys.version.split()[0], "edgekit": __version__, **source.facts.tools}
        final, used = _apply_recipe(request, source, folder, events)
        spec = _spec(request, source, recipe, {**tools, **used}, final)
        parity = verify(final, spec, source.evidence, recipe, folder, events)
        warnings = source.plan.warnings + _doubts(parity)
        for warning in warnings:
            events(Notice(warning, "warning"))
        _write(request.output, final, spec, events)
        return ConversionResult(
            request.output,
            spec_beside(request.output),
            spec,
            recipe.name,
            request.source.stat().st_size,
            source.model.stat().st_size,
            request.output.stat().st_size,
            parity,
            source.evidence.samples.skipped,
            warnings,
        )


def verify(
    model: Path, spec: ModelSpec, evidence: Evidence, recipe: QuantRecipe, folder: Path, events: Events
) -> ParityReport:
    """Prove a finished file: its operator versions, that it loads and runs, and that it says what the source says.

    Args:
        model: the file, as it will be written.
        spec: what it is said to be.
        evidence: what it is compared with.
        recipe: how much it may differ.
        folder: for its outputs.
        events: hears of progress.

    Raises:
        ConversionError: it is not right, or cannot be loaded or run.
    """
    samples = evidence.samples
    events(Step(f"run the {recipe.name} model and compare it with the trained one"))
    require_versions(read_tflite(model), f"the {recipe.name} model")
    with open_worker(folder, events) as worker:
        outputs = _run(worker, RunModel(str(model), spec.prep, str(samples.path), str(folder)), recipe)
    if outputs.inputs != spec.inputs or outputs.outputs != spec.outputs:
        raise ConversionError(
            f"the engine sees other tensors in the converted model than its file tells: expected {spec.inputs} and "
            f"{spec.outputs}, got {outputs.inputs} and {outputs.outputs}"
        )
    converted = [open_array(Path(file)) for file in outputs.files]
    report = compare(evidence.outputs, converted, spec, samples.names, generated=samples.generated)
    require_parity(report, recipe, f"the {recipe.name} model")
    return report


def _run(worker: Worker, job: RunModel, recipe: QuantRecipe) -> Outputs:
    """Run a model that this conversion made: when it cannot be run, the conversion is what failed."""
    try:
        return worker.call(job, Outputs, f"run the {recipe.name} model")
    except ModelError as error:
        reason = str(error).replace(f"{job.model}: ", "")
        raise ConversionError(
            f"the {recipe.name} model that was made cannot be used: {reason}", hint="try another one: --recipe float32"
        ) from error


def _check_request(request: ConvertRequest, recipe: QuantRecipe) -> None:
    if not request.source.exists():
        raise ModelError(f"no such model: {request.source}")
    if recipe.calibrates and request.calibration is None:
        raise UsageError(
            f"recipe {recipe.name} measures value ranges on pictures, and got none",
            hint="give a folder of pictures like those the model will see: --calibration DIR",
        )
    if request.output.suffix != ".tflite":
        raise UsageError(f"{request.output}: expected an output that ends in .tflite")
    try:
        with tempfile.TemporaryFile(dir=request.output.parent):
            pass
        if request.output.is_dir():
            raise UsageError(f"{request.output}: expected a file to write, got a folder")
    except OSError as error:
        raise refused(error, request.output, "write") from error


@contextlib.contextmanager
def _workspace() -> Iterator[Path]:
    """Make a folder for everything in between, and remove it, whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="edgekit-convert-"))
    except OSError as error:
        raise refused(error, Path(tempfile.gettempdir()) / "edgekit-convert", "write") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open_and_export(
    request: ConvertRequest, recipe: QuantRecipe, backend: str, folder: Path, events: Events
) -> _Source:
    with open_worker(folder, events) as worker:
        events(Step(f"load {request.source.name}"))
        source = str(request.source.absolute())
        facts = worker.call(OpenSource(backend, source), SourceFacts, f"load {request.source}")
        plan = plan_conversion(facts, request, recipe)
        samples = _samples(request, plan.source_prep, folder, events)
        events(Step(f"run the trained model on {len(samples.names)} pictures"))
        run = RunSource(str(samples.path), plan.source_prep, str(folder))
        outputs = worker.call(run, Outputs, "run the trained model")
        events(Step("convert to float32 TFLite"))
        model = folder / "float.tflite"
        worker.call(ExportFloat(str(model), plan.export), Done, "convert to float32 TFLite")
    arrays = [open_array(Path(outputs.files[index])) for index in plan.order]
    return _Source(facts, sha256_of(request.source), plan, model, Evidence(samples, arrays))


def _samples(request: ConvertRequest, prep: ImagePrep, folder: Path, events: Events) -> Samples:
    target = folder / "samples.npy"
    if request.calibration is None:
        events(Notice("no --calibration folder: the result is compared on generated pictures only", "warning"))
        return generate_samples(prep, request.seed, target)
    events(Step(f"prepare pictures of {request.calibration}"))
    return collect_samples(request.calibration, prep, request.samples, request.seed, target, events)


def _apply_recipe(
    request: ConvertRequest, source: _Source, folder: Path, events: Events
) -> tuple[Path, dict[str, str]]:
    """Quantise in a process of its own, after a look at whether the float model is still the trained one."""
    final = folder / "final.tflite"
    plan = source.plan
    names = tuple(output.name for output in plan.outputs)
    with open_worker(folder, events) as worker:
        plain = folder / "plain.tflite"
        samples = str(source.evidence.samples.path)
        job = Quantise(str(source.model), str(plain), "float32", samples, plan.float_prep, None, plan.order, names)
        worker.call(job, Done, "read the float32 model")
        check = RunModel(str(plain), plan.float_prep, samples, str(folder), limit=_FLOAT_CHECK_SAMPLES)
        outputs = _run(worker, check, RECIPES["float32"])
        _check_float(request, source, plain, outputs)
        events(Step(f"apply recipe {request.recipe}"))
        job = Quantise(
            str(source.model),
            str(final),
            request.recipe,
            samples,
            plan.float_prep,
            plan.encoding,
            plan.order,
            names,
        )
        done = worker.call(job, Done, f"apply recipe {request.recipe}")
    return final, done.tools


def _check_float(request: ConvertRequest, source: _Source, plain: Path, outputs: Outputs) -> None:
    spec = _spec(request, source, RECIPES["float32"], {}, plain, prep=source.plan.float_prep)
    arrays = [open_array(Path(file)) for file in outputs.files]
    report = compare(source.evidence.outputs, arrays, spec, source.evidence.samples.names)
    require_parity(report, RECIPES["float32"], "the float32 model that the framework exported")


def _spec(
    request: ConvertRequest,
    source: _Source,
    recipe: QuantRecipe,
    tools: dict[str, str],
    model: Path,
    prep: ImagePrep | None = None,
) -> ModelSpec:
    info: TfliteInfo = read_tflite(model)
    plan = source.plan
    try:
        return ModelSpec(
            request.output.stem,
            plan.task,
            prep or plan.prep,
            tensor_specs(info.inputs, "the converted model"),
            tensor_specs(info.outputs, "the converted model"),
            plan.labels,
            Provenance(request.source.name, source.sha256, recipe.name, source.evidence.samples.sha256, tools),
        )
    except ValueError as error:
        raise ConversionError(f"the converted model is not what was planned: {error}") from error


def _doubts(parity: ParityReport) -> tuple[str, ...]:
    """Tell of an agreement that may cost accuracy; generated pictures are too odd to judge by."""
    if parity.generated or parity.agreement >= _DOUBTFUL_AGREEMENT:
        return ()
    doubt = (
        f"only {parity.agreement:.1%} of the pictures get the same answer as from the trained model; "
        "measure the accuracy with edgekit evaluate, or try --recipe float16"
    )
    return (doubt,)


def _write(output: Path, final: Path, spec: ModelSpec, events: Events) -> None:
    """Write model and spec: both complete beside their places first, then renamed one after the other."""
    events(Step(f"write {output}"))
    with replacing(output) as model, replacing(spec_beside(output)) as text:
        shutil.copyfile(final, model)
        text.write_text(dumps(spec), encoding="utf-8")
        if sha256_of(model) != sha256_of(final):
            raise ConversionError(f"{output}: what the disk holds is not what was verified")
