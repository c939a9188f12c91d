"""Debian's packages from the mirror that this machine's apt is configured with, beside the system's own apt."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from device_runtime.errors import UnfitError
from tests.board.running import done

_SECURITY = "-security"


def mirrors(suite: str) -> list[str]:
    """Return the sources of a suite, its updates and security fixes, as lines of sources.list(5).

    The suite need not be this machine's: all of Debian's suites are on one mirror.

    Raises:
        UnfitError: apt is configured with no mirror of Debian.
    """
    told = done(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI) $(COMPONENT)", "Created-By: Packages"])
    found = [line.split()[:2] for line in told.splitlines() if re.fullmatch(r"[a-z]+(-\w+)? \S+ main", line)]
    own = next((uri for codename, uri in found if "-" not in codename), None)
    if own is None:
        raise UnfitError("apt: expected a mirror of Debian, got none", hint="apt-get update; apt-get indextargets")
    security = next((uri for codename, uri in found if codename.endswith(_SECURITY)), None)
    lines = [f"deb {own} {name} main" for name in (suite, f"{suite}-updates")]
    return [*lines, f"deb {security} {suite}{_SECURITY} main"] if security else lines


def private_apt(work: Path, suite: str, settings: Mapping[str, str | Path]) -> list[str | Path]:
    """Return how an apt-get begins that knows one suite, keeps all that it has in a folder, and was updated.

    Args:
        work: the folder; what is downloaded lies in ``archives``.
        suite: the suite.
        settings: further ones, by their names; of what is installed it knows ``Dir::State::status``.

    Raises:
        UnfitError: there is no mirror, or no network.
    """
    for part in ("lists/partial", "archives/partial", "parts"):
        (work / part).mkdir(parents=True)
    sources = work / "sources.list"
    sources.write_text("".join(f"{line}\n" for line in mirrors(suite)))
    own: dict[str, str | Path] = {
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work,
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": work / "parts",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": work / "parts",
        # Its user of its own cannot enter a folder of the user's cache.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "APT::Update::Error-Mode": "any",  # otherwise an update without a network succeeds
    }
    apt: list[str | Path] = ["apt-get", "--quiet", "--yes"]
    for key, value in {**own, **settings}.items():
        apt += ["-o", f"{key}={value}"]
    done([*apt, "update"], limit_s=300)
    return apt


def unpack_package(name: str, suite: str, folder: Path) -> None:
    """Unpack the newest version of a package of a suite into a folder; nothing is installed.

    Raises:
        UnfitError: there is no mirror, or no such package.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        debs = Path(work, "debs")
        debs.mkdir()
        apt = private_apt(Path(work), suite, {"Dir::State::status": "/dev/null"})
        done(["env", "-C", str(debs), *apt, "download", name], limit_s=600)
        packed = next(debs.glob("*.deb"), None)
        if packed is None:
            raise UnfitError(f"{name}: expected a package of Debian {suite}, got none")
        done(["dpkg-deb", "--extract", packed, folder])
