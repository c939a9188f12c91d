"""The way of a conversion: source, float TFLite, recipe, final bytes proved on each declared runtime, files written."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.candidate import Made, Maker, answers, require_same_float, verify
from converters.describe import spec_beside
from converters.errors import ConversionError
from converters.interface import ConversionResult, ConvertRequest, ParityReport, SearchReport
from converters.jobs import Done, Finish
from converters.process import open_worker
from converters.recipe import AS_IS, QuantRecipe, recipe_named
from converters.recipe_formula import variant
from converters.registry import check_source
from converters.source_stage import AUTO, FloatModel, make_float_model
from device_runtime import __version__
from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Events, Notice, Step
from device_runtime.engine.litert import ENGINES, installed_engines
from device_runtime.errors import ModelError, UnfitError, UsageError
from device_runtime.files import refused, replacing, sha256_of

DEFAULT_RECIPE = "static-int8"
_DOUBTFUL_AGREEMENT = 0.9


@dataclass(frozen=True)
class _Chosen:
    """What is to be finished and written. ``recipe`` None was left to a search, whose report is ``search``."""

    made: Made
    search: SearchReport | None = None


def convert(request: ConvertRequest, events: Events) -> ConversionResult:
    """Convert a trained model; see ``converters.convert``."""
    recipe = None if request.recipe == AUTO else _recipe(request)
    check_source(request.source)
    _check_request(request, recipe)
    with workspace() as folder:
        takes_bytes = recipe is None or recipe.takes_bytes
        source = make_float_model(request, folder, events, takes_bytes=takes_bytes)
        recipe = _fitting(request, source, recipe)
        require_same_float(request, source, folder, events)
        chosen = _made(request, source, recipe, folder, events) if recipe else _found(request, source, folder, events)
        final = finish(chosen.made, source, request.runtimes, folder, events)
        proven = sha256_of(final.path)
        parity = {name: verify(final, source.evidence, name, folder, events) for name in request.runtimes}
        warnings = source.plan.warnings + _doubts(parity)
        for warning in warnings:
            events(Notice(warning, "warning"))
        _write(request.output, final, proven, events)
        return ConversionResult(
            request.output,
            spec_beside(request.output),
            final.spec,
            final.recipe.name,
            source.size,
            source.model.stat().st_size,
            request.output.stat().st_size,
            parity,
            source.evidence.samples.skipped,
            warnings,
            chosen.search,
        )


def finish(made: Made, source: FloatModel, runtimes: tuple[str, ...], folder: Path, events: Events) -> Made:
    """Make a file smaller without loss, and put its description in: what is written in the end.

    Raises:
        ConversionError: the file does not say the same as before, bit for bit.
    """
    events(Step("make the file smaller, and describe it"))
    final = replace(made, path=folder / "final.tflite")
    with open_worker(folder, events) as worker:
        worker.call(Finish(str(made.path), str(final.path), made.spec), Done, "finish the model")
    runtime = runtimes[0]
    evidence = source.evidence
    with (
        open_worker(folder, events) as worker,
        answers(made, evidence, runtime, folder, worker) as before,
        answers(final, evidence, runtime, folder, worker) as after,
    ):
        same = all(np.array_equal(one, two) for one, two in zip(before, after, strict=True))
    if not same:
        raise ConversionError(
            "the finished file does not say what it said before it was made smaller",
            hint="this is a defect of edgekit; please report it with the model's operators: edgekit inspect MODEL",
        )
    return final


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Make a folder for everything in between, and remove it, whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="edgekit-convert-"))
    except OSError as error:
        raise refused(error, Path(tempfile.gettempdir()) / "edgekit-convert", "write") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _recipe(request: ConvertRequest) -> QuantRecipe:
    """Return the recipe that is asked for; one that options change is called by its formula."""
    found = recipe_named(request.recipe or DEFAULT_RECIPE)
    if not request.float_io and not request.keep_float:
        return found
    try:
        return variant(
            found, float_io=found.float_io or request.float_io, keep_float=found.keep_float + request.keep_float
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _fitting(request: ConvertRequest, source: FloatModel, recipe: QuantRecipe | None) -> QuantRecipe | None:
    """Return the recipe that a source can be given: of one that is quantised already, only what leaves it alone."""
    if not source.facts.quantised:
        return recipe
    if request.recipe in (None, AS_IS.name):
        return AS_IS
    raise UsageError(
        f"{request.source} is quantised already: recipe {request.recipe} needs the float values that it came from",
        hint=f"check it and make it smaller: --recipe {AS_IS.name}; or convert the model that it was made from",
    )


def _made(request: ConvertRequest, source: FloatModel, recipe: QuantRecipe, folder: Path, events: Events) -> _Chosen:
    with open_worker(folder, events) as worker:
        made = Maker(request, source, folder, worker).make(recipe, events)
    return _Chosen(_with_tools(made))


def _found(request: ConvertRequest, source: FloatModel, folder: Path, events: Events) -> _Chosen:
    from converters.search import Search  # noqa: PLC0415 - only for --recipe auto

    if source.sets is None:
        raise ConversionError(f"{request.source}: a search needs samples to compare candidates with, and has none")
    with open_worker(folder, events) as worker:
        made, report = Search(request, source, source.sets, folder, worker, events).run()
    return _Chosen(_with_tools(made), report)


def _with_tools(made: Made) -> Made:
    provenance = made.spec.provenance
    assert provenance is not None  # noqa: S101 - spec_of gives one
    own = {"edgekit": __version__, "python": sys.version.split()[0]}
    tools = dict(sorted({**provenance.tools, **own}.items()))
    return replace(made, spec=replace(made.spec, provenance=replace(provenance, tools=tools)))


def _check_request(request: ConvertRequest, recipe: QuantRecipe | None) -> None:
    path_like = ":" not in request.source.name
    if path_like and not request.source.exists():
        raise ModelError(f"no such model: {request.source}")
    quantised_already = request.source.suffix == ".tflite" and request.recipe is None
    if (recipe is None or recipe.calibrates) and request.calibration is None and not quantised_already:
        raise UsageError(
            f"recipe {recipe.name if recipe else AUTO} measures value ranges on pictures, and got none",
            hint="give a folder of pictures like those the model will see: --calibration DIR",
        )
    if request.output.suffix != ".tflite":
        raise UsageError(f"{request.output}: expected an output that ends in .tflite")
    _check_runtimes(request.runtimes)
    try:
        with tempfile.TemporaryFile(dir=request.output.parent):
            pass
        if request.output.is_dir():
            raise UsageError(f"{request.output}: expected a file to write, got a folder")
    except OSError as error:
        raise refused(error, request.output, "write") from error


def _check_runtimes(runtimes: tuple[str, ...]) -> None:
    """Refuse, before minutes of work, a runtime that is not here to prove the result on."""
    present = installed_engines()
    for name in runtimes:
        if name not in ENGINES:
            raise UsageError(f"runtime: expected {' or '.join(ENGINES)}, got {name!r}")
        if name not in present:
            raise UnfitError(
                f"runtime {name} is not installed, so that nothing can be proved on it",
                hint=f"{sys.executable} -m pip install {ENGINES[name][1]}",
            )


def _doubts(parity: dict[str, ParityReport]) -> tuple[str, ...]:
    """Tell of an agreement that may cost accuracy; generated samples are too odd to judge by."""
    return tuple(
        f"an agreement of only {report.agreement:.1%} with the trained model on {runtime}; "
        "measure the accuracy with edgekit evaluate, or try --recipe auto"
        for runtime, report in parity.items()
        if not report.generated and report.agreement < _DOUBTFUL_AGREEMENT
    )


def _write(output: Path, final: Made, proven: str, events: Events) -> None:
    """Write model and spec: both complete beside their places first, then renamed one after the other.

    ``proven`` is the digest of the bytes as they were before anything was proved of them.
    """
    events(Step(f"write {output}"))
    with replacing(output) as model, replacing(spec_beside(output)) as text:
        shutil.copyfile(final.path, model)
        text.write_text(dumps(final.spec), encoding="utf-8")
        if sha256_of(model) != proven:
            raise ConversionError(f"{output}: what the disk holds is not what was verified")
