"""Resolves packages with uv against a hash lock, for all platforms at once: which versions, which files, and where."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from packaging.pylock import PackageWheel, Pylock, PylockValidationError

from converters.cache import cache_folder
from converters.uv import cause_of, find_uv, lacks_network, uv_variables
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.events import Events, Step
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import refused, write_text

LOCKS = Path(__file__).parent / "locks"
"""A lock for each engine: every version and the SHA-256 of every file that may be in a bundle."""

_OVERRIDES = LOCKS / "overrides.in"
_OLDEST_PYTHON = "3.11"
_FORMAT = 1
"""Of what is kept in the cache; another number, another file."""

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class WheelFile:
    """A wheel in an index: its file name, SHA-256 in hex, URL, and size in bytes where the index says."""

    file: str
    sha256: str
    url: str
    size: int | None = None


@dataclass(frozen=True)
class Pinned:
    """A package in one version, where ``marker`` holds (empty: everywhere), and its wheels for all platforms."""

    name: str
    version: str
    marker: str
    wheels: tuple[WheelFile, ...]


@dataclass(frozen=True)
class Resolution:
    """All packages that some packages need, of which a platform takes a part."""

    packages: tuple[Pinned, ...]


class Resolver:
    """Knows what packages need, for every platform; of an index only files count that a lock has a hash of.

    What uv said is kept in the cache: the same question needs no network again.
    """

    def __init__(self, locks: Path, events: Events) -> None:
        self._locks = locks
        self._events = events
        self._asked: dict[Path, Resolution] = {}

    def resolve(self, engine: str, packages: Sequence[str], *, fresh: bool = False) -> Resolution:
        """Return what ``packages`` need.

        Args:
            engine: whose lock counts.
            packages: names.
            fresh: do not take what an earlier process kept, whose URLs may be outdated.

        Raises:
            EdgeError: there is no uv, or no index can be reached.
        """
        lock = self._locks / f"{engine}.txt"
        kept = cache_folder() / "resolutions" / f"{_key(packages, lock)}.json"
        found = self._asked.get(kept) or (None if fresh else _read(kept))
        if found is None:
            self._events(Step(f"look up {', '.join(packages)}"))
            found = self._asked[kept] = _resolution(_ask(packages, lock), _hashes(lock))
            try:
                kept.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise refused(error, kept.parent, "make") from error
            write_text(kept, dumps(found))
        return found


def _key(packages: Sequence[str], lock: Path) -> str:
    parts = [_FORMAT, sorted(packages), _OVERRIDES.read_text(encoding="utf-8"), lock.read_text(encoding="utf-8")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _read(kept: Path) -> Resolution | None:
    try:
        return loads(Resolution, kept.read_text(encoding="utf-8"), str(kept))
    except (OSError, UnicodeDecodeError, BadFileError):  # not there, or damaged: uv knows it, too
        return None


def _ask(packages: Sequence[str], lock: Path) -> str:
    """Return uv's answer as ``pylock.toml``. Nothing is built and no package's code runs."""
    uv = find_uv("looks up packages for boards")
    # All platforms in one answer: uv has no target for armv7, and what fits is decided by the wheels' tags.
    words = [uv, "pip", "compile", "-", "--universal", "--python-version", _OLDEST_PYTHON, "--no-build"]
    words += ["--constraints", str(lock.absolute()), "--override", str(_OVERRIDES)]
    words += ["--format", "pylock.toml", "--no-header", "--quiet"]
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:  # not where a project's settings for uv may lie
        done = subprocess.run(
            words,
            input="\n".join(packages),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            cwd=folder,
            env=uv_variables(),
        )
    if done.returncode:
        raise _explained(packages, done.stderr.splitlines())
    return done.stdout


def _explained(packages: Sequence[str], lines: Sequence[str]) -> EdgeError:
    what = f"cannot look up {', '.join(packages)}"
    if lacks_network(lines):
        return EdgeError(
            f"{what}: no package index can be reached, and the answer is not in {cache_folder()}: {cause_of(lines)}",
            hint="connect to the network once; or name a folder of wheels: UV_FIND_LINKS=/folder UV_OFFLINE=1",
        )
    return EdgeError(
        f"{what}: {cause_of(lines)}",
        hint="the index must have the locked versions; the usual one has: UV_DEFAULT_INDEX=https://pypi.org/simple",
    )


def _hashes(lock: Path) -> dict[str, frozenset[str]]:
    """Return the hashes of each package's files, of all its versions: a hash tells the version."""
    found: dict[str, frozenset[str]] = {}
    text = lock.read_text(encoding="utf-8")
    pins = list(_PIN.finditer(text))
    for pin, following in zip(pins, [*pins[1:], None], strict=True):
        block = text[pin.start() : following.start() if following else None]
        digests = frozenset(match["digest"] for match in _HASH.finditer(block))
        found[pin["name"].lower()] = found.get(pin["name"].lower(), frozenset()) | digests
    return found


def _resolution(answer: str, hashes: dict[str, frozenset[str]]) -> Resolution:
    try:
        parsed = Pylock.from_dict(tomllib.loads(answer))
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise EdgeError(f"uv's answer cannot be understood: {error}", hint="update uv: pip install -U uv") from error
    found = []
    for package in parsed.packages:
        known = hashes.get(package.name, frozenset())
        wheels = sorted(
            (_wheel(wheel) for wheel in package.wheels or () if wheel.hashes.get("sha256") in known),
            key=lambda wheel: wheel.file,
        )
        found.append(Pinned(package.name, str(package.version), str(package.marker or ""), tuple(wheels)))
    return Resolution(tuple(found))


def _wheel(wheel: PackageWheel) -> WheelFile:
    return WheelFile(wheel.filename, wheel.hashes["sha256"], _without_user(wheel.url or ""), wheel.size)


def _without_user(url: str) -> str:
    """Return a URL without a name and a password: it is kept in a file, and shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
