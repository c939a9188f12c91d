"""The installer as tests run it: its real command line in its own process, and what a root then looks like."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Installed:
    """What a command of the installer printed, and its exit code."""

    code: int
    lines: list

    @property
    def result(self):
        return self.lines[-1]["result"]

    @property
    def status(self):
        return self.lines[-1]["status"]

    @property
    def error(self):
        return self.lines[-1]["error"]


def command_line(command: str, root: Path, *arguments, python: str = sys.executable) -> list:
    """Return the words of a command."""
    words = [python, "-m", "device_runtime.install", command, "--root", str(root)]
    return words + [str(argument) for argument in arguments]


def environment() -> dict:
    """Return an environment in which the sources are importable, and nothing else of ours."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def install(command: str, root: Path, *arguments, python: str = sys.executable, **options) -> Installed:
    """Run a command to its end."""
    done = subprocess.run(
        command_line(command, root, *arguments, python=python),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        **options,
    )
    assert not done.stderr, done.stderr
    return Installed(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])


def current(root: Path):
    """Return the id of the release that ``current`` points to, or None."""
    return (root / "current").resolve().name if (root / "current").is_symlink() else None


def leftovers(root: Path) -> list:
    """Return unfinished files below a root."""
    found = [path for path in root.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".part")]
    return [str(path.relative_to(root)) for path in found]


def content(root: Path) -> dict:
    """Return everything below a root but its journal: relative path -> bytes, or a link's target."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and not name.startswith("journal"):
            found[name] = path.read_bytes()
    return found
