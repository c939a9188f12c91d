"""The project file ``edgekit.toml``: found, read strictly, with every path made absolute."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from converters.interface import PrepOptions, SearchOptions, TaskOptions
from device_runtime.contract.decode import decode
from device_runtime.contract.model import Colour, Interpolation, Resize
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import refused

FILE_NAME = "edgekit.toml"


@dataclass(frozen=True)
class ProjectTable:
    """``[project]``: what the application is called."""

    name: str
    version: str = "0.1.0"


@dataclass(frozen=True)
class ModelTable:
    """``[model]``: the trained model and how to quantise it. Paths are relative to the file.

    ``input_size`` (height, width in px) is for a source that leaves it open.
    """

    source: str
    recipe: str | None = None
    calibration: str | None = None
    labels: str | None = None
    output: str | None = None
    runtimes: tuple[str, ...] = ("litert",)
    input_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.input_size is not None and min(self.input_size) < 1:
            raise ValueError(f"input_size: expected a height and a width of 1 px or more, got {list(self.input_size)}")


@dataclass(frozen=True)
class SearchTable:
    """``[search]``: the budget of ``recipe = "auto"``; see ``converters.interface.SearchOptions``."""

    max_drop: float = 1.0
    metric: str | None = None
    optimize: str = "latency"
    evaluation: str | None = None
    max_bytes: int = 0
    candidates: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class PrepTable:
    """``[prep]``: how pictures were prepared when the model was trained."""

    resize: Resize | None = None
    crop_fraction: float | None = None
    interpolation: Interpolation | None = None
    pad: int | None = None
    colour: Colour | None = None
    normalise: str | None = None

    def options(self) -> PrepOptions:
        """Return the same as the converters take it. Raises UsageError for an unknown ``normalise``."""
        from converters.normalise import parse_normalise  # noqa: PLC0415 - only for those who convert

        mean, std = parse_normalise(self.normalise) if self.normalise is not None else (None, None)
        return PrepOptions(self.resize, self.crop_fraction, self.interpolation, self.pad, self.colour, mean, std)


@dataclass(frozen=True)
class BundleTable:
    """``[bundle]``: the file to write, the boards that it is for, wheels to add, and the key to sign with."""

    output: str | None = None
    boards: tuple[str, ...] = ("local",)
    wheels: tuple[str, ...] = ()
    sign: str | None = None


@dataclass(frozen=True)
class DemoTable:
    """``[demo]``: where demo and bench take frames from, on this machine."""

    source: str | None = None


@dataclass(frozen=True)
class FlashTable:
    """``[flash]``: the operating system's image for cards, and what their first boot sets up. Paths as in ``[model]``.

    ``sha256`` is of the image's file, ``wifi`` an SSID; its password never stands here.
    """

    image: str | None = None
    sha256: str | None = None
    hostname: str | None = None
    user: str | None = None
    ssh_keys: tuple[str, ...] = ()
    wifi: str | None = None
    wifi_country: str | None = None
    timezone: str | None = None
    locale: str | None = None
    first_boot: str | None = None
    signers: str | None = None


@dataclass(frozen=True)
class ProjectFile:
    """The whole file."""

    project: ProjectTable
    model: ModelTable
    prep: PrepTable = field(default_factory=PrepTable)
    task: TaskOptions = field(default_factory=TaskOptions)
    search: SearchTable = field(default_factory=SearchTable)
    bundle: BundleTable = field(default_factory=BundleTable)
    service: ServiceSpec = field(default_factory=ServiceSpec)
    flash: FlashTable = field(default_factory=FlashTable)
    demo: DemoTable = field(default_factory=DemoTable)
    targets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Project:
    """A project file and where it lies."""

    path: Path
    file: ProjectFile

    @property
    def folder(self) -> Path:
        """The folder that all paths in the file are relative to."""
        return self.path.parent

    @property
    def source(self) -> Path:
        """The trained model."""
        return self.folder / self.file.model.source

    @property
    def tflite(self) -> Path:
        """The converted model; beside it, with suffix ``.json``, its ModelSpec."""
        return self.folder / (self.file.model.output or f"out/{self.file.project.name}.tflite")

    @property
    def calibration(self) -> Path | None:
        """The folder of calibration pictures."""
        return self.folder / self.file.model.calibration if self.file.model.calibration else None

    @property
    def labels(self) -> Path | None:
        """The label file."""
        return self.folder / self.file.model.labels if self.file.model.labels else None

    @property
    def search(self) -> SearchOptions:
        """The budget of a search. Raises BadFileError for one that cannot be."""
        table = self.file.search
        try:
            return SearchOptions(
                **{**vars(table), "evaluation": self.folder / table.evaluation if table.evaluation else None}
            )
        except ValueError as error:
            raise BadFileError(f"{self.path}: search: {error}") from error

    @property
    def bundle(self) -> Path:
        """The bundle to write and to deploy."""
        named = self.file.project
        return self.folder / (self.file.bundle.output or f"out/{named.name}-{named.version}.edgekit")

    @property
    def wheels(self) -> tuple[Path, ...]:
        """The wheels that bundles get beside the usual ones."""
        return tuple(self.folder / wheel for wheel in self.file.bundle.wheels)

    @property
    def signing_key(self) -> Path | None:
        """The key that bundles are signed with; ``~`` is the user's home."""
        return self.folder / Path(self.file.bundle.sign).expanduser() if self.file.bundle.sign else None

    def source_of_frames(self, spec: str) -> str:
        """Return a frame source with its path relative to the file made absolute (``file:clip.mp4``)."""
        scheme, _, rest = spec.partition(":")
        return f"{scheme}:{self.folder / rest}" if scheme in ("file", "dir") else spec


def read_project(path: Path) -> Project:
    """Read one ``edgekit.toml``.

    Raises:
        BadFileError: it is not TOML, has an unknown or a missing key, or a value does not fit.
        EdgeError: it cannot be read.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refused(error, path, "read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadFileError(f"{path}: not TOML: {error}") from error
    return Project(path.absolute(), decode(ProjectFile, data, str(path), unknown="error"))


def find_project(start: Path) -> Project | None:
    """Return the project of ``start`` or of the nearest folder above it, or None."""
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / FILE_NAME).is_file():
            return read_project(folder / FILE_NAME)
    return None


def load_project(start: Path) -> Project:
    """Return the project that ``start`` is in.

    Raises:
        UsageError: there is none.
        BadFileError: its file is wrong.
    """
    project = find_project(start)
    if project is None:
        raise UsageError(
            f"no {FILE_NAME} in {start.absolute()} or above it, and no file was named",
            hint="name the file, or start with: edgekit new my-app --sample belt",
        )
    return project


def made_bundle(project: Project | None, start: Path) -> Path:
    """Return the bundle of ``project``, or of the project that ``start`` is in.

    Raises:
        UsageError: there is no project.
        BadFileError: it has no bundle yet.
    """
    bundle = (project or load_project(start)).bundle
    if not bundle.exists():
        raise BadFileError(f"the project has no bundle yet: no {bundle}", hint="edgekit bundle")
    return bundle
