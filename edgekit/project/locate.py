"""What a user means by MODEL: a ``.tflite`` file, a bundle, or nothing, which is the project's."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.decode import dumps, loads, read_json
from device_runtime.contract.manifest import ServiceSpec
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import BadFileError, UsageError
from device_runtime.install.layout import Bundle, open_bundle
from edgekit.project.config import FILE_NAME, Project, find_project

_BUNDLE_SUFFIX = ".edgekit"
_TRAINED_SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx", ".pt", ".pt2", ".pb")


@dataclass(frozen=True)
class LocatedModel:
    """A model that is ready to run: the ``.tflite`` file, its ModelSpec, and that spec as a file.

    ``project`` is the one that the model was taken from, or None; ``service`` is what a bundle says.
    """

    model: Path
    spec: ModelSpec
    spec_path: Path
    project: Project | None = None
    service: ServiceSpec | None = None

    @property
    def demo_source(self) -> str | None:
        """The project's own source of frames for this machine."""
        named = self.project.file.demo.source if self.project else None
        return self.project.source_of_frames(named) if self.project and named else None


@contextlib.contextmanager
def located_model(
    argument: Path | None, prep: PrepOptions, task: TaskOptions, labels: Path | None
) -> Iterator[LocatedModel]:
    """Find a model and what describes it; what is unpacked for it is removed at the end.

    Args:
        argument: a ``.tflite`` file, a bundle, or None for the project's converted model.
        prep: what the user says of the preparation. It describes a bare model; a model that has a ModelSpec is
            described already, and contradicting that is an error.
        task: what the user says of the outputs; thresholds may be changed for any model.
        labels: a label file for a bare model.

    Raises:
        UsageError: there is no project, or an option contradicts the model's own ModelSpec.
        BadFileError: there is no such model, it is damaged, or not a converted one.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        yield _locate(argument, prep, task, labels, Path(folder))


def _locate(
    argument: Path | None, prep: PrepOptions, task: TaskOptions, labels: Path | None, folder: Path
) -> LocatedModel:
    project = None
    if argument is None:
        project = find_project(Path.cwd())
        if project is None:
            raise UsageError(
                f"no {FILE_NAME} here or above, and no model was named",
                hint="name a .tflite file or a bundle, or start with: edgekit new my-app --sample belt",
            )
        argument = project.tflite
        if not argument.exists():
            raise BadFileError(f"the project's model is not converted yet: no {argument}", hint="edgekit convert")
    if argument.suffix == _BUNDLE_SUFFIX:
        located = _from_bundle(argument, folder)
    elif argument.suffix in _TRAINED_SUFFIXES:
        raise BadFileError(
            f"{argument}: a trained model; boards run converted ones", hint=f"edgekit convert {argument}"
        )
    else:
        located = _from_tflite(argument, prep, task, labels, folder)
        if located is not None:
            return dataclasses.replace(located, project=project)
        spec_path = argument.with_suffix(".json")
        located = LocatedModel(argument, read_json(ModelSpec, spec_path), spec_path)
    return dataclasses.replace(_adjusted(located, prep, task, labels, folder), project=project)


def _from_tflite(
    model: Path, prep: PrepOptions, task: TaskOptions, labels: Path | None, folder: Path
) -> LocatedModel | None:
    """Describe a bare model; None when it has a ModelSpec beside it."""
    from converters.describe import describe_tflite  # noqa: PLC0415 - only bare models need it
    from converters.tflite_reader import read_tflite  # noqa: PLC0415

    # Older engines crash on damaged files instead of refusing them.
    read_tflite(model)
    if model.with_suffix(".json").exists():
        return None
    spec = describe_tflite(model, prep, task, labels)
    spec_path = folder / f"{model.stem}.json"
    spec_path.write_text(dumps(spec))
    return LocatedModel(model, spec, spec_path)


def _from_bundle(path: Path, folder: Path) -> LocatedModel:
    with open_bundle(path) as bundle:
        if not bundle.packages:
            raise BadFileError(f"{path}: no packages in it")
        # All packages of a bundle carry the same application; they differ in the wheels.
        manifest = bundle.packages[0].manifest
        model, spec_path = folder / f"{manifest.name}.tflite", folder / f"{manifest.name}.json"
        model.write_bytes(_blob(bundle, "model"))
        spec_path.write_bytes(_blob(bundle, "spec"))
        service = loads(ServiceSpec, _blob(bundle, "service").decode("utf-8", "replace"), f"{path}: service")
    return LocatedModel(model, read_json(ModelSpec, spec_path), spec_path, service=service)


def _blob(bundle: Bundle, role: str) -> bytes:
    return b"".join(bundle.read(bundle.packages[0].manifest.of_role(role)[0]))


def _adjusted(
    located: LocatedModel, prep: PrepOptions, task: TaskOptions, labels: Path | None, folder: Path
) -> LocatedModel:
    """Apply what may be changed of a described model: thresholds. All else was fixed when it was converted."""
    for name, value in vars(prep).items():
        if value is not None and value != getattr(located.spec.prep, name):
            raise UsageError(
                f"{located.spec.name} was converted with {name} {_word(getattr(located.spec.prep, name))}, "
                f"not {_word(value)}",
                hint="leave the option out, or convert again",
            )
    if labels is not None:
        raise UsageError(
            f"{located.spec.name} has its labels already", hint="leave --labels out, or convert again with it"
        )
    changes = {name: value for name, value in vars(task).items() if value is not None}
    if not changes:
        return located
    try:
        spec = dataclasses.replace(located.spec, task=dataclasses.replace(located.spec.task, **changes))
    except ValueError as error:
        raise UsageError(str(error)) from error
    spec_path = folder / "adjusted.json"
    spec_path.write_text(dumps(spec))
    return dataclasses.replace(located, spec=spec, spec_path=spec_path)


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{number:g}" for number in value)
    return str(getattr(value, "value", value))
