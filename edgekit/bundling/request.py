"""What to bundle: from the command line, from edgekit.toml, or both."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from device_runtime.files import refused
from device_runtime.vision.picture import list_pictures
from edgekit.boards.catalog import find_boards
from edgekit.bundling.build import BundleRequest
from edgekit.bundling.packages import Sources
from edgekit.project.config import Project
from edgekit.project.locate import LocatedModel

_VERSION = "0.1.0"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class Wanted:
    """What the command line says; None is for the project or a default to say."""

    output: Path | None = None
    boards: tuple[str, ...] = ()
    name: str | None = None
    version: str | None = None
    golden: Path | None = None
    sign: Path | None = None
    sequence: int | None = None
    wheels: tuple[Path, ...] = ()


def bundle_request(wanted: Wanted, located: LocatedModel) -> BundleRequest:
    """Return what to build.

    Args:
        wanted: what the command line says.
        located: the model, and the project that it was taken from if it was; without one the bundle goes to the
            current folder.

    Raises:
        UsageError: there is no such board.
        BadFileError: the folder of golden pictures is none.
    """
    if located.project is not None:
        return _of_project(wanted, located, located.project)
    name = wanted.name or _NOT_IN_NAMES.sub("-", located.model.stem.lower()).strip("-._") or "app"
    version = wanted.version or _VERSION
    return BundleRequest(
        located.model,
        located.spec,
        name,
        version,
        wanted.output or Path(f"{name}-{version}.edgekit"),
        find_boards(wanted.boards or ("local",)),
        located.service,
        list_pictures(wanted.golden) if wanted.golden else [],
        Sources(wheels=wanted.wheels),
        wanted.sign,
        _sequence(wanted, wanted.sign),
    )


def _of_project(wanted: Wanted, located: LocatedModel, project: Project) -> BundleRequest:
    file = project.file
    pictures = wanted.golden or project.calibration
    output, sign = wanted.output, wanted.sign or project.signing_key
    if output is None:
        output = project.bundle
        _make_folder(output.parent)
    return BundleRequest(
        located.model,
        located.spec,
        wanted.name or file.project.name,
        wanted.version or file.project.version,
        output,
        find_boards(wanted.boards or file.bundle.boards),
        file.service,
        list_pictures(pictures) if pictures and (wanted.golden or pictures.is_dir()) else [],
        Sources(wheels=wanted.wheels or project.wheels),
        sign,
        _sequence(wanted, sign),
    )


def _sequence(wanted: Wanted, sign: Path | None) -> int:
    """Return what the user says, or for a bundle that is signed the time in seconds: later ones have higher numbers.

    ``SOURCE_DATE_EPOCH`` stands for the time where it is set (reproducible-builds.org).
    """
    if wanted.sequence is not None or sign is None:
        return wanted.sequence or 0
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(told) if told.isdecimal() else int(time.time())


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(error, folder, "make") from error
