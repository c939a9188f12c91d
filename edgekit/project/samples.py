"""Sample projects: found where they are installed, and copied, with freshly made pictures, to a folder of one's own."""

from __future__ import annotations

import importlib.resources
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import device_runtime
from device_runtime.contract.decode import suggestion
from device_runtime.contract.events import Events, Step, silent
from device_runtime.errors import EdgeError, UsageError
from device_runtime.files import making_folder, refused
from device_runtime.vision.picture import list_pictures
from edgekit.project.config import FILE_NAME

SAMPLES = ("digits", "belt")
"""The samples by name: handwritten digits to classify, parts on a conveyor belt to detect."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MAKER = "make_images.py"
_LAST_LINES = 8


@dataclass(frozen=True)
class NewProject:
    """A project that was made from a sample; ``folder`` is as the user named it."""

    name: str
    sample: str
    folder: Path
    model: Path
    calibration_pictures: int
    evaluation_pictures: int


def sample_folder(sample: str) -> Path:
    """Return the folder that ``sample`` lies in, in an installation or in a checkout.

    Raises:
        UsageError: there is no such sample.
        EdgeError: it should be there and is not.
    """
    if sample not in SAMPLES:
        raise UsageError(f'no sample "{sample}"', hint=suggestion(sample, SAMPLES))
    package = Path(str(importlib.resources.files("edgekit")))
    for folder in (package / "samples" / sample, package.parent / "samples" / sample):
        if (folder / FILE_NAME).is_file():
            return folder
    raise EdgeError(f"sample {sample} is not part of this installation of edgekit", hint="install edgekit again")


def new_project(folder: Path, sample: str, events: Events = silent) -> NewProject:
    """Make a project folder from a sample: its files, and pictures that its own script makes.

    All of it is made in a temporary folder beside ``folder``, which then takes that name: whatever happens, a
    project is whole or not there. Nothing is downloaded.

    Args:
        folder: must not exist yet, or be empty; its last part names the project.
        sample: one of ``SAMPLES``.
        events: told of the steps.

    Raises:
        UsageError: the name does not fit, or there is no such sample.
        EdgeError: ``folder`` is taken or cannot be written, or the pictures cannot be made.
    """
    name = folder.name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name of the project: expected a-z, 0-9, '.', '_', '-', beginning with a letter or digit, at most 64, "
            f"got {name!r}",
            hint="edgekit new my-app --sample belt",
        )
    source = sample_folder(sample)
    with making_folder(folder) as made:
        events(Step(f"copy the sample {sample}"))
        _copy(source, made, name, sample)
        events(Step("make its pictures"))
        _make_pictures(made)
        calibration = len(list_pictures(made / "images" / "calibration"))
        evaluation = len(list_pictures(made / "images" / "evaluation"))
    return NewProject(name, sample, folder, folder / f"{sample}.keras", calibration, evaluation)


def _copy(source: Path, target: Path, name: str, sample: str) -> None:
    for path in sorted(source.iterdir()):
        if not path.is_file() or path.name.startswith("."):
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise refused(error, path, "read") from error
        if path.name == FILE_NAME:
            content = content.replace(f'\nname = "{sample}"\n'.encode(), f'\nname = "{name}"\n'.encode(), 1)
        (target / path.name).write_bytes(content)


def _make_pictures(folder: Path) -> None:
    """Run the sample's script with this interpreter and this very device runtime."""
    root = str(Path(device_runtime.__file__).parent.parent)
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, _MAKER, "--out", "images"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise EdgeError(
            f"{_MAKER} ended with exit code {done.returncode}: {last or 'it said nothing'}",
            hint="see what this machine lacks: edgekit doctor",
        )
