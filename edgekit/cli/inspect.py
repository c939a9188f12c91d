"""``edgekit inspect``: what is in a model or a bundle."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from converters.interface import PrepOptions, TaskOptions
from converters.normalise import format_normalise
from device_runtime.contract.events import silent
from device_runtime.contract.model import ImagePrep, ModelSpec
from device_runtime.errors import BadFileError, EdgeError, UsageError
from device_runtime.files import refused
from edgekit.cli.options import prep_options, task_options
from edgekit.cli.output import answer, answer_json, size, table

if TYPE_CHECKING:
    from converters.backends.keras_archive import KerasArchive
    from converters.tflite_reader import TensorInfo, TfliteInfo
    from device_runtime.contract.manifest import Compat
    from edgekit.bundling.describe import PackageFacts


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--labels", type=click.Path(path_type=Path), help="Label file of a bare model, one name per line.")
@prep_options
@task_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(file: Path, labels: Path | None, prep: PrepOptions, task: TaskOptions, *, as_json: bool) -> None:
    """Show what is in FILE: a TFLite model, a trained Keras model, a SavedModel folder, or a bundle.

    \b
    edgekit inspect out/belt.tflite
    edgekit inspect out/belt-0.1.0.edgekit --json
    """  # noqa: D301 - click wants the control character, which keeps lines as they are
    kind = _kind(file)
    if kind == "tflite":
        facts = _tflite_facts(file, prep, task, labels)
        answer_json(facts) if as_json else _show_tflite(facts)
    elif kind == "saved-model":
        _inspect_saved_model(file, as_json=as_json)
    elif kind == "keras":
        from converters.backends.keras_archive import read_archive  # noqa: PLC0415 - only for such a file

        archive = read_archive(file)
        answer_json({"kind": "keras", "path": str(file), **vars(archive)}) if as_json else _show_keras(file, archive)
    else:
        _inspect_bundle(file, as_json=as_json)


@dataclass(frozen=True)
class OperatorCount:
    """How often an operator occurs, and the version that it asks for."""

    name: str
    version: int
    count: int


@dataclass(frozen=True)
class TfliteFacts:
    """What ``inspect`` tells of a TFLite model; ``spec`` is None where it cannot be known, and ``unknown`` says why."""

    kind: str
    path: str
    size_bytes: int
    description: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    tensors: tuple[TensorInfo, ...]
    operators: tuple[OperatorCount, ...]
    custom_operators: tuple[str, ...]
    metadata: tuple[str, ...]
    spec: ModelSpec | None
    unknown: str


def _kind(file: Path) -> str:
    """Tell a file's kind by its first bytes, and by its suffix where they do not tell."""
    try:
        with file.open("rb") as stream:
            head = stream.read(8)
    except FileNotFoundError as error:
        raise BadFileError(f"no such file: {file}") from error
    except IsADirectoryError as error:
        if (file / "saved_model.pb").is_file():
            return "saved-model"
        raise UsageError(f"{file}: expected a model or a bundle, got a folder without saved_model.pb") from error
    except OSError as error:
        raise refused(error, file, "read") from error
    if head[4:8] == b"TFL3" or file.suffix == ".tflite":
        return "tflite"
    if head.startswith((b"PK\x03\x04", b"\x89HDF")) or file.suffix in (".keras", ".h5"):
        return "keras"
    if file.suffix == ".edgekit":
        return "bundle"
    raise BadFileError(
        f"{file}: expected a TFLite model, a Keras model or a bundle, got something else",
        hint="edgekit inspect reads .tflite, .keras, .h5 and .edgekit files",
    )


def _tflite_facts(file: Path, prep: PrepOptions, task: TaskOptions, labels: Path | None) -> TfliteFacts:
    from converters.describe import describe_tflite  # noqa: PLC0415 - only for such a file
    from converters.tflite_reader import read_tflite  # noqa: PLC0415

    info: TfliteInfo = read_tflite(file)
    spec, unknown = None, ""
    try:
        spec = describe_tflite(file, prep, task, labels)
    except EdgeError as error:
        unknown = f"{error}; {error.hint}" if error.hint else str(error)
    counts = tuple(OperatorCount(name, version, count) for (name, version), count in info.operator_counts.items())
    return TfliteFacts(
        "tflite",
        str(file),
        info.size_bytes,
        info.description,
        info.inputs,
        info.outputs,
        info.main.tensors,
        counts,
        info.custom_operators,
        tuple(info.metadata),
        spec,
        unknown,
    )


def _show_tflite(facts: TfliteFacts) -> None:
    constants = sum(tensor.constant_bytes for tensor in facts.tensors)
    operators = sum(operator.count for operator in facts.operators)
    answer(f"{facts.path}: TFLite model, {size(facts.size_bytes)}, {operators} operators, {size(constants)} of weights")
    rows = [("input", *_tensor_row(tensor)) for tensor in facts.inputs]
    rows += [("output", *_tensor_row(tensor)) for tensor in facts.outputs]
    table(("", "name", "shape", "type", "real value"), rows)
    counted = [(operator.name, operator.version, operator.count) for operator in facts.operators]
    table(("operator", "version", "count"), counted, right=(1, 2))
    if facts.custom_operators:
        answer(f"custom operators: {', '.join(facts.custom_operators)}")
    if facts.spec is None:
        answer(f"how to run it cannot be told: {facts.unknown}")
        return
    _show_spec(facts.spec)


def _tensor_row(tensor: TensorInfo) -> tuple[str, str, str, str]:
    real = "as stored"
    if len(tensor.scales) == 1:
        real = f"{tensor.scales[0]:.6g} * (stored - {tensor.zero_points[0] if tensor.zero_points else 0})"
    elif tensor.scales:
        real = f"{len(tensor.scales)} scales"
    return tensor.name, "x".join(map(str, tensor.shape)), tensor.dtype, real


def _show_spec(spec: ModelSpec) -> None:
    prep, task = spec.prep, spec.task
    if prep is None:
        answer("input: tensors, no picture")
    else:
        answer(_pictures(prep))
    shown = ", ".join(spec.labels[:5]) + (", …" if len(spec.labels) > 5 else "")
    answer(f"task: {task.name}, {task.decoder}; {len(spec.labels)} labels{': ' + shown if shown else ''}")
    if spec.provenance is not None:
        made = spec.provenance
        tools = ", ".join(f"{name} {version}" for name, version in sorted(made.tools.items()))
        answer(f"made from: {made.source} (sha256 {made.source_sha256[:12]}), recipe {made.recipe}, with {tools}")


def _pictures(prep: ImagePrep) -> str:
    return (
        f"pictures: {prep.width}x{prep.height} {prep.colour.value}, {prep.resize.value}, {prep.interpolation.value}, "
        f"normalised {format_normalise(prep.mean, prep.std)}"
    )


def _show_keras(file: Path, archive: KerasArchive) -> None:
    version = archive.keras_version or "an unknown version"
    answer(f"{file}: {archive.class_name or 'model'} {archive.name}, Keras {version}, {size(archive.size_bytes)}")
    layers = sorted(archive.layers.items(), key=_most_frequent)
    table(("layer", "count"), layers, right=(1,))
    for what, names in (("custom layers, whose code is elsewhere", archive.custom), ("Lambda layers", archive.lambdas)):
        if names:
            answer(f"{what}: {', '.join(names)}")


def _inspect_saved_model(folder: Path, *, as_json: bool) -> None:
    from converters.jobs import ReadSignatures, Signatures  # noqa: PLC0415 - only for such a folder
    from converters.process import open_worker  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch, open_worker(Path(scratch), silent) as worker:
        found = worker.call(ReadSignatures(str(folder.absolute())), Signatures, f"read {folder}").signatures
    if as_json:
        answer_json({"kind": "saved-model", "path": str(folder), "signatures": found})
        return
    answer(f"{folder}: SavedModel with {len(found)} signature{'' if len(found) == 1 else 's'}")
    rows = [
        (
            signature.name,
            kind,
            item.name,
            "x".join("?" if side is None else str(side) for side in item.shape),
            item.dtype,
        )
        for signature in found
        for kind, items in (("input", signature.inputs), ("output", signature.outputs))
        for item in items
    ]
    table(("signature", "", "name", "shape", "type"), rows)


def _most_frequent(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _inspect_bundle(file: Path, *, as_json: bool) -> None:
    from edgekit.bundling.describe import describe_bundle  # noqa: PLC0415 - only for such a file

    facts = describe_bundle(file)
    if as_json:
        answer_json({"kind": "bundle", **vars(facts)})
        return
    signed = ", signed" if facts.signed else ""
    answer(f"{facts.path}: bundle {facts.name} {facts.version}, {size(facts.size)}{signed}")
    for package in facts.packages:
        _show_package(package)


def _show_package(package: PackageFacts) -> None:
    from edgekit.bundling.describe import label_of  # noqa: PLC0415 - as above

    compat = package.compat
    answer(f"for {package.platform}: release {package.release}, {package.golden.count} goldens, {_needs(compat)}")
    if compat.system_packages:
        answer(f"the board must have: {', '.join(item.package for item in compat.system_packages)}")
    rows = [(label_of(blob), blob.role, size(blob.size), blob.hex) for blob in package.blobs]
    table(("blob", "for", "size", "sha256"), rows, right=(2,))


def _needs(compat: Compat) -> str:
    memory = f" and {size(compat.memory_bytes)} of memory" if compat.memory_bytes else ""
    sequence = f", sequence {compat.sequence}" if compat.sequence else ""
    return f"needs {size(compat.bytes_needed)} of disk{memory}{sequence}"
