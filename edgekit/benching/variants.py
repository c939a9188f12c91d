"""The models of a sweep: the given one, or a project's trained model converted by other recipes and to other sizes."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from converters import convert
from converters.describe import spec_beside
from converters.interface import ConvertRequest
from converters.recipe import recipe_named
from converters.source_stage import digest_of
from device_runtime import __version__
from device_runtime.contract.decode import dumps, read_json
from device_runtime.contract.events import Events, Notice
from device_runtime.contract.model import ModelSpec
from device_runtime.errors import EdgeError, UsageError
from device_runtime.files import refused, sha256_of, write_text
from edgekit.benching.sweep_report import Setting
from edgekit.converting.request import project_request
from edgekit.project.config import Project
from edgekit.project.locate import LocatedModel

FOLDER = "sweep"
"""Beside the project's own model: what was converted for sweeps, to be used again."""

_AUTO = "auto"
_SIZE_OPTION = "--input-size "
"""In what a conversion says of a size that it cannot give."""


@dataclass(frozen=True)
class Variant:
    """A model that can be measured: the file, its ModelSpec, and that spec as a file."""

    model: Path
    spec: ModelSpec
    spec_path: Path


class Models(Protocol):
    """Gives the model of a setting."""

    def __call__(self, setting: Setting, events: Events) -> Variant:
        """Find or make it.

        Raises:
            UsageError: there can be none: the setting does not fit to the model.
            EdgeError: it could not be made.
        """


class GivenModel:
    """The model as it was given, whatever the setting: where neither recipe nor size varies."""

    def __init__(self, located: LocatedModel) -> None:
        self._variant = Variant(located.model, located.spec, located.spec_path)

    def __call__(self, setting: Setting, events: Events) -> Variant:
        """Return it. Raises UsageError when the setting names a recipe or a size."""
        del events
        if setting.recipe or setting.input_size:
            raise UsageError(
                f"--sweep {'recipe' if setting.recipe else 'size'}: {self._variant.model.name} is converted already",
                hint="sweep the trained model of a project: leave MODEL out, in the project's folder",
            )
        return self._variant


@dataclass(frozen=True)
class MadeFrom:
    """What a conversion was made of: ``key`` is a digest of all that decides it, ``model_sha256`` of what came out."""

    key: str
    model_sha256: str


class ProjectModels:
    """Converts a project's trained model, by each recipe and to each size once.

    What was made before, from the same files and in the same way, is used again.
    """

    def __init__(self, project: Project, default_recipe: str = "") -> None:
        """Prepare to convert.

        Args:
            project: whose trained model it is.
            default_recipe: where a setting names none; empty: the project's.
        """
        self._project = project
        self._recipe = default_recipe
        self._known: dict[tuple[str, tuple[int, int] | None], Variant] = {}
        self._digests: dict[Path, str] = {}

    def __call__(self, setting: Setting, events: Events) -> Variant:
        """Return the converted model of a setting's recipe and size.

        Raises:
            UsageError: the recipe needs something that the project does not have, or the source has another size.
            EdgeError: the conversion failed, or the disk refuses.
        """
        key = setting.recipe, setting.input_size
        if key not in self._known:
            self._known[key] = self._found(setting, events)
        return self._known[key]

    def _found(self, setting: Setting, events: Events) -> Variant:
        request = self._request(setting)
        key, record = self._key(request), request.output.with_suffix(".made.json")
        if key and _is_made_from(request.output, record, key):
            events(Notice(f"{request.output.name}: used again"))
            return _read(request.output)
        try:
            result = convert(request, events)
        except UsageError as error:
            if _SIZE_OPTION not in str(error):
                raise
            raise UsageError(
                f"--sweep size: {str(error).replace(_SIZE_OPTION, '').strip()}",
                hint="leave size out: other sizes take a trained model that leaves its size open",
            ) from error
        if key:
            write_text(record, dumps(MadeFrom(key, sha256_of(result.tflite))))
        return Variant(result.tflite, result.spec, result.spec_path)

    def _request(self, setting: Setting) -> ConvertRequest:
        project = self._project
        recipe = setting.recipe or self._recipe or project.file.model.recipe
        if recipe == _AUTO:
            raise UsageError(
                f"{project.path}: [model] recipe is auto, which would search anew for each size",
                hint="name recipes, too: --sweep recipe=static-int8,float16",
            )
        words = [project.file.project.name, _word(recipe or "default")]
        if setting.input_size:
            words.append("x".join(str(side) for side in setting.input_size))
        folder = project.tflite.parent / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refused(error, folder, "make the folder") from error
        request = project_request(project, folder / f"{'-'.join(words)}.tflite")
        return dataclasses.replace(request, recipe=recipe, input_size=setting.input_size or request.input_size)

    def _key(self, request: ConvertRequest) -> str:
        """Return a digest of everything that decides what a conversion makes; empty where that cannot be known."""
        if not request.source.exists():
            return ""  # a function that makes a model
        files = [path for path in (request.source, request.calibration, request.labels) if path and path.exists()]
        told = {
            "edgekit": __version__,
            "request": request,
            "recipe": recipe_named(request.recipe) if request.recipe else None,
            "files": {str(path): self._digest(path) for path in files},
        }
        return hashlib.sha256(dumps(told).encode()).hexdigest()

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = digest_of(path)[0]
        return self._digests[path]


def _is_made_from(model: Path, record: Path, key: str) -> bool:
    """Whether the file is what a conversion with this key made; whatever is damaged is not."""
    if not (model.is_file() and record.is_file() and spec_beside(model).is_file()):
        return False
    try:
        return read_json(MadeFrom, record) == MadeFrom(key, sha256_of(model))
    except EdgeError:
        return False


def _read(model: Path) -> Variant:
    beside = spec_beside(model)
    return Variant(model, read_json(ModelSpec, beside), beside)


def _word(recipe: str) -> str:
    """Return a recipe's name as a part of a file's name; a formula's signs are told apart by a digest."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", recipe).strip("-")
    return plain if plain == recipe else f"{plain}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
