"""Programs that have to succeed, one process at a time where two would make the same."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from device_runtime.errors import UnfitError

PACKAGES = {
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
}
"""The programs that a board is made of, and Debian's packages that have them."""


def check_programs(packages: Mapping[str, str] = PACKAGES, who: str = "the virtual board") -> None:
    """Raise UnfitError, with Debian's names of the packages, when a program that ``who`` needs is missing.

    ``packages`` has those by their programs.
    """
    missing = sorted({package for program, package in packages.items() if not find(program)})
    if missing:
        raise UnfitError(f"{who} needs programs of {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}")


def find(program: str) -> str | None:
    """Return a program's path; also of those that only root's path has."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def done(
    words: Sequence[str | Path], *, limit_s: float = 120, log: Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Run a program, by default in English and without this process's settings for Python, and return what it printed.

    Args:
        words: the program and its arguments.
        limit_s: when it is stopped.
        log: where its complaints and its progress go, as they come.
        env: its environment, in place of a plain one.

    Raises:
        UnfitError: it failed, or did not end.
    """
    name = Path(words[0]).name
    try:
        with log.open("w+") if log else tempfile.TemporaryFile("w+") as complaints:
            ended = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=env or plain_environment(),
                encoding="utf-8",
                errors="replace",
                timeout=limit_s,
                check=False,
            )
            complaints.seek(0)
            said = complaints.read() or ended.stdout
    except subprocess.TimeoutExpired as error:
        raise UnfitError(f"{name}: expected it to end within {limit_s:g} s, got no end") from error
    except FileNotFoundError as error:
        raise UnfitError(f"{name}: expected it to be installed") from error
    if ended.returncode:
        raise UnfitError(f"{' '.join(map(str, words[:4]))}: exit {ended.returncode}: {said.strip()[-1500:]}")
    return ended.stdout


def plain_environment() -> dict[str, str]:
    """Return an environment in which nothing of this process's Python, pip or language leaks into another root."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"HOME", "TMPDIR", "XDG_CACHE_HOME"} or name.lower().endswith("_proxy")
    }
    return {**kept, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def recipe_of(*parts: object) -> str:
    """Return a short name for how something is made, which another way of making it does not have."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def say(text: str) -> None:
    """Tell how far it is, on stderr: making a root filesystem takes minutes."""
    print(f"· {text}", file=sys.stderr, flush=True)  # noqa: T201 - these are scripts


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for another process that makes the same."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process: {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
