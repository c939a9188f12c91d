"""What a user means by MODEL: a ``.tflite`` file, a bundle, or nothing, which is the project's."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from converters.describe import describe_tflite, with_options
from converters.interface import PrepOptions, TaskOptions
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError
from device_runtime.install.layout import Bundle, open_bundle
from edgekit.project.config import Project, load_project

_BUNDLE_SUFFIX = ".edgekit"
_TRAINED_SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx", ".pt", ".pt2", ".pb")


@dataclass(frozen=True)
class LocatedModel:
    """A model that is ready to run: the ``.tflite`` file, its ModelSpec, and that spec as a file.

    ``project`` is the one that the model was taken from, or None; ``service`` is what the project or the bundle says of
    how it runs.
    """

    model: Path
    spec: ModelSpec
    spec_path: Path
    project: Project | None = None
    service: ServiceSpec = field(default_factory=ServiceSpec)

    def engine(self, engine: str | None, threads: int | None) -> tuple[str, int]:
        """Return the engine's name and its threads: what the user says, else what the service says."""
        return engine or self.service.engine, threads or self.service.threads

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
        prep: what the user says of the preparation.
        task: what the user says of the outputs.
        labels: the label file, or None.

    Raises:
        UsageError: there is no project, something cannot be known without an option, or an option contradicts what is.
        BadFileError: there is no such model, it is damaged, or not a converted one.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        yield _locate(argument, prep, task, labels, Path(folder))


def _locate(
    argument: Path | None, prep: PrepOptions, task: TaskOptions, labels: Path | None, folder: Path
) -> LocatedModel:
    if argument is not None:
        return _described(argument, prep, task, labels, folder)
    project = load_project(Path.cwd())
    if not project.tflite.exists():
        raise BadFileError(f"the project's model is not converted yet: no {project.tflite}", hint="edgekit convert")
    located = _described(project.tflite, prep, task, labels, folder)
    return dataclasses.replace(located, project=project, service=project.file.service)


def _described(argument: Path, prep: PrepOptions, task: TaskOptions, labels: Path | None, folder: Path) -> LocatedModel:
    if argument.suffix == _BUNDLE_SUFFIX:
        located = _from_bundle(argument, folder)
        spec = with_options(located.spec, prep, task, labels)
    elif argument.suffix in _TRAINED_SUFFIXES:
        raise BadFileError(
            f"{argument}: a trained model; boards run converted ones", hint=f"edgekit convert {argument}"
        )
    else:
        # This reads the file's structure, too: older engines crash on damaged files instead of refusing them.
        spec = describe_tflite(argument, prep, task, labels)
        located = LocatedModel(argument, spec, folder)
    spec_path = folder / "spec.json"
    spec_path.write_text(dumps(spec))
    return dataclasses.replace(located, spec=spec, spec_path=spec_path)


def _from_bundle(path: Path, folder: Path) -> LocatedModel:
    with open_bundle(path) as bundle:
        if not bundle.packages:
            raise BadFileError(f"{path}: no packages in it")
        # All packages of a bundle carry the same application; they differ in the wheels.
        manifest = bundle.packages[0].manifest
        model = folder / f"{manifest.name}.tflite"
        model.write_bytes(_blob(bundle, "model"))
        spec = loads(ModelSpec, _blob(bundle, "spec").decode("utf-8", "replace"), f"{path}: model.json")
        service = loads(ServiceSpec, _blob(bundle, "service").decode("utf-8", "replace"), f"{path}: service.json")
    return LocatedModel(model, spec, folder, service=service)


def _blob(bundle: Bundle, role: str) -> bytes:
    return b"".join(bundle.read(bundle.packages[0].manifest.of_role(role)[0]))
