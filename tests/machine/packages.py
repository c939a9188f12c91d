"""More of Debian's packages for an arm64 root file system: fetched and unpacked here, configured under emulation."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.board.debian import private_apt
from tests.board.emulator import CPU
from tests.board.running import done, plain_environment

_LIMIT_S = 1800
# A root of its own for its mounts, which end with it.
_IN_ROOT = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"'


def add_packages(root: Path, suite: str, names: Sequence[str], excluded: Sequence[str], log: Path) -> None:
    """Install packages and what they need into a root file system, under ``arm64_programs``.

    Args:
        root: the root file system, with its database of packages.
        suite: its Debian.
        names: the packages; what they only recommend is left out.
        excluded: options of dpkg, of files that are not unpacked.
        log: where dpkg's words go.

    Raises:
        UnfitError: there is no mirror, or a package does not install.
    """
    with tempfile.TemporaryDirectory(dir=root.parent) as work:
        packages = _downloaded(Path(work), root, suite, names)
        # Natively, decompressing takes a tenth of the time. dpkg's own architecture is this machine's. All packages
        # come at once, so that what one needs before it is unpacked is there in the end.
        words = ["dpkg", f"--root={root}", "--force-architecture", "--force-depends", *excluded, "--unpack", *packages]
        done(words, limit_s=_LIMIT_S, log=log, env=_environment())
    # The initramfs is made later, once.
    in_root(root, "env", "INITRD=No", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--configure", "--pending", log=log)


def in_root(root: Path, *words: str, log: Path | None = None) -> str:
    """Run a program of an arm64 root file system in it, with its /proc and /dev, and return what it printed.

    Raises:
        UnfitError: it failed.
    """
    inside = ["unshare", "--mount", "sh", "-c", _IN_ROOT, root, *words]
    return done(inside, limit_s=_LIMIT_S, log=log, env={**_environment(), "QEMU_CPU": CPU})


def _downloaded(work: Path, root: Path, suite: str, names: Sequence[str]) -> list[Path]:
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "Dir::State::status": root / "var/lib/dpkg/status",
    }
    done([*private_apt(work, suite, settings), "--download-only", "install", *names], limit_s=_LIMIT_S)
    return sorted((work / "archives").glob("*.deb"))


def _environment() -> dict[str, str]:
    return {**plain_environment(), "DEBIAN_FRONTEND": "noninteractive"}
