"""Which wheels a board takes: by its tags and markers, as its own pip would, without having it at hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from device_runtime.errors import UnfitError
from edgekit.boards.catalog import Board
from edgekit.bundling.resolve import Pinned, Resolution, WheelFile

# PEP 600, and the older names of three of its platforms (PEPs 513, 571 and 599).
_OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_OLDEST_GLIBC = {"x86_64": 5}
_OLDEST_GLIBC_ELSEWHERE = 17


class Chosen(NamedTuple):
    """A package and the wheel that a board takes of it."""

    package: Pinned
    wheel: WheelFile


@dataclass(frozen=True)
class Platform:
    """What a wheel has to fit: ``machine`` as ``uname -m`` says, ``python`` as ``cp311``, ``glibc`` as ``2.36``."""

    machine: str
    python: str
    glibc: str

    def __str__(self) -> str:
        return f"{self.machine}, {self.python}, glibc {self.glibc}"

    @property
    def version(self) -> tuple[int, int]:
        """The version of Python."""
        digits = self.python.removeprefix("cp")
        return int(digits[0]), int(digits[1:])

    def tags(self) -> list[Tag]:
        """Return the tags that fit, the best first."""
        machine_tags = list(self._machine_tags())
        return [
            *cpython_tags(self.version, [self.python], machine_tags),
            *compatible_tags(self.version, self.python, machine_tags),
        ]

    def markers(self) -> dict[str, str]:
        """Return what markers (PEP 508) ask; of the Python's third number only that it is the lowest is certain."""
        python = ".".join(map(str, self.version))
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": "linux",
        }

    def _machine_tags(self) -> Iterator[str]:
        newest = int(self.glibc.split(".")[1])
        for minor in range(newest, _OLDEST_GLIBC.get(self.machine, _OLDEST_GLIBC_ELSEWHERE) - 1, -1):
            yield f"manylinux_2_{minor}_{self.machine}"
            if minor in _OLD_NAMES:
                yield f"{_OLD_NAMES[minor]}_{self.machine}"
        yield f"linux_{self.machine}"


def platform_of(board: Board) -> Platform:
    """Return what wheels have to fit on a board."""
    return Platform(board.machine, board.python, board.glibc)


def choose_wheels(board: Board, resolution: Resolution, without: Collection[str] = ()) -> tuple[Chosen, ...]:
    """Return the wheels that a board takes, sorted by package.

    Args:
        board: a kind of board with a Python of its own.
        resolution: all that is needed, for all platforms.
        without: packages that the board has already.

    Raises:
        UnfitError: there is no wheel of a package that fits.
    """
    platform = platform_of(board)
    tags, markers = platform.tags(), platform.markers()
    chosen = []
    for package in resolution.packages:
        if package.name in without or not _holds(package.marker, markers):
            continue
        wheel = best_wheel(package.wheels, tags)
        if wheel is None:
            raise UnfitError(
                f"{board.id} cannot run this: there is no wheel of {package.name} {package.version} for {platform}"
            )
        chosen.append(Chosen(package, wheel))
    return tuple(sorted(chosen, key=lambda item: item.package.name))


def best_wheel(wheels: Sequence[WheelFile], tags: Sequence[Tag]) -> WheelFile | None:
    """Return the wheel with the best tag, of equal ones the newest build; None when none fits."""
    ranks = {tag: rank for rank, tag in reversed(list(enumerate(tags)))}
    fitting = []
    for wheel in wheels:
        try:
            _, _, build, own = parse_wheel_filename(wheel.file)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in own if tag in ranks), default=None)
        if rank is not None:
            fitting.append((-rank, build, wheel.file, wheel))
    return max(fitting)[-1] if fitting else None


def _holds(marker: str, markers: dict[str, str]) -> bool:
    return not marker or Marker(marker).evaluate(markers)
