"""What a bundle has for each platform: which boards share one, which wheels they take, and the wheels themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from device_runtime.contract.events import Events
from device_runtime.contract.manifest import Compat
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError, UnfitError
from device_runtime.files import refused, sha256_of
from edgekit.boards.catalog import Board, load_catalog
from edgekit.bundling.choose import best_wheel, choose_wheels, platform_of
from edgekit.bundling.fetch import fetch, missing
from edgekit.bundling.layout import Content, content_of
from edgekit.bundling.needs import engine_on, packages_for, provided_by
from edgekit.bundling.resolve import LOCKS, Resolution, Resolver, WheelFile
from edgekit.bundling.sbom import Part
from edgekit.bundling.wheel_facts import check_wheel, fits_python, read_wheel


@dataclass(frozen=True)
class Sources:
    """Where packages come from: the locks, and the user's own wheels beside them."""

    locks: Path = LOCKS
    wheels: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One package of a bundle: what its boards are, and the wheels that they take, the user's own ones first."""

    compat: Compat
    own: tuple[Path, ...] = ()
    wheels: tuple[WheelFile, ...] = ()


def plan_packages(boards: Sequence[Board], service: ServiceSpec, sources: Sources, events: Events) -> tuple[Plan, ...]:
    """Return a plan for each platform among ``boards``; nothing is downloaded yet but what an index says.

    Raises:
        UnfitError: a board cannot have what the application needs; the hint says which could.
        BadFileError: one of the user's wheels is none.
        EdgeError: what an index has cannot be known.
    """
    own = tuple(_checked(path) for path in sources.wheels)
    resolver = Resolver(sources.locks, events)
    plans: dict[Compat, Plan] = {}
    for board in boards:
        compat = Compat(board.machine, board.python, board.glibc, system_packages=board.system_packages)
        if compat not in plans:
            plans[compat] = _plan(board, compat, service, own, resolver)
    return tuple(sorted(plans.values(), key=lambda plan: (plan.compat.machine, plan.compat.python, plan.compat.glibc)))


def gather(plan: Plan, events: Events) -> tuple[tuple[Content, Part], ...]:
    """Return the wheels of a plan, downloaded where they are not in the cache.

    Raises:
        BadFileError: a wheel is not what it should be.
        UnfitError: a wheel is not for this version of Python.
        EdgeError: one cannot be downloaded.
    """
    files = [(path, path.name) for path in plan.own]
    files += [(fetch(wheel, events), wheel.file) for wheel in plan.wheels]
    gathered = []
    for path, name in files:
        facts = read_wheel(path, name)
        python = plan.compat.python.removeprefix("cp")
        if not fits_python(facts, f"{python[0]}.{python[1:]}.0"):
            raise UnfitError(
                f"{facts.name} {facts.version} is for Python {facts.requires_python}, and the board has {python}"
            )
        try:
            content = content_of("wheel", name, path, unpacked_size=facts.unpacked_size, files=facts.files)
        except OSError as error:
            raise refused(error, path, "read") from error
        gathered.append((content, Part(content.ref, facts)))
    return tuple(gathered)


def _plan(board: Board, compat: Compat, service: ServiceSpec, added: Sequence[Path], resolver: Resolver) -> Plan:
    if board.packages == "present":
        if added:
            raise UnfitError(
                f"{board.id} brings its own packages: {added[0].name} cannot be added",
                hint="install it there, or make the bundle for a board of another kind; see: edgekit boards",
            )
        return Plan(compat)
    engine = engine_on(board, service)
    packages = packages_for(engine, service)
    own = _own_wheels(board, added)
    wheels = _wheels(board, resolver.resolve(engine, packages), engine, service)
    if missing(wheels):  # the index is needed anyway, and may have other URLs by now
        wheels = _wheels(board, resolver.resolve(engine, packages, fresh=True), engine, service)
    return Plan(compat, own, wheels)


def _wheels(board: Board, resolution: Resolution, engine: str, service: ServiceSpec) -> tuple[WheelFile, ...]:
    try:
        chosen = choose_wheels(board, resolution, provided_by(board))
    except UnfitError as error:
        raise UnfitError(str(error), hint=_way_out(resolution, engine, service)) from error
    return tuple(item.wheel for item in chosen)


def _way_out(resolution: Resolution, engine: str, service: ServiceSpec) -> str:
    """Return which boards would do, and what else would."""
    able = []
    for other in load_catalog().values():
        if other.packages != "present":
            try:
                choose_wheels(other, resolution, provided_by(other))
            except UnfitError:
                continue
            able.append(other.id)
    boards = f"boards that can, with {engine}: {', '.join(able) or 'none'}"
    if service.engine != "auto":
        return f'{boards}; or let the board say which engine it has: engine = "auto" in [service]'
    return boards


def _own_wheels(board: Board, paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the user's wheels that fit a board: of each package the best one, and of each there must be one."""
    tags = platform_of(board).tags()
    packages: dict[str, list[Path]] = {}
    for path in paths:
        packages.setdefault(parse_wheel_filename(path.name)[0], []).append(path)
    own = []
    for package, files in sorted(packages.items()):
        best = best_wheel([WheelFile(path.name, "", "") for path in files], tags)
        if best is None:
            raise UnfitError(
                f"{', '.join(path.name for path in files)}: not for {board.id} ({platform_of(board)})",
                hint=f"add a wheel of {package} that is: --wheel FILE",
            )
        own.append(next(path for path in files if path.name == best.file))
    return tuple(own)


def _checked(path: Path) -> Path:
    """Return the path of a wheel that boards will take. Raises BadFileError: they will not."""
    try:
        parse_wheel_filename(path.name)
        sha256_of(path)
    except InvalidWheelFilename as error:
        raise BadFileError(f"{path}: not the name of a wheel: {error}") from error
    except OSError as error:
        raise refused(error, path, "read") from error
    check_wheel(path, read_wheel(path, path.name))
    return path
