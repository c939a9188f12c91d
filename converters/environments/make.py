"""Makes an environment when it is first needed: beside its place, renamed when complete, by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from converters.environments.catalog import Environment
from converters.environments.failures import NotFoundError, explain
from converters.errors import ConversionError
from converters.uv import find_uv, uv_variables
from device_runtime.contract.events import Events, Notice, Step
from device_runtime.errors import EdgeError
from device_runtime.files import refused

PACKAGES = "edgekit-packages.json"
"""In an environment's folder: the packages that it was made with, ``{"name": "version"}``."""

_UNFINISHED = ".making-"
_LISTING = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}, sort_keys=True))"
)
_TIMEOUT_S = 300.0
"""The first import of torch compiles ten thousand files; from a slow disk that takes a minute or two."""

_ALONE = ("UV_NO_INDEX", "UV_OFFLINE")
"""Whoever sets these wants no index to be asked, that of an environment neither."""


def prepare(environment: Environment, events: Events) -> Path:
    """Return an environment's Python, after making the environment if it is not there.

    Args:
        environment: which.
        events: hears of it when it has to be made, which takes minutes and the network.

    Raises:
        EdgeError: it cannot be made; the hint says what would help. What is there then is as before.
    """
    if _starts(environment.python):
        return environment.python
    with _alone(environment, events) as root:
        if not _starts(environment.python):  # another process may have made it in the meantime
            _make(environment, root, events)
    return environment.python


def remake(environment: Environment, events: Events) -> None:
    """Make an environment anew, whether it is there or not. Raises EdgeError as ``prepare`` does."""
    with _alone(environment, events) as root:
        _make(environment, root, events)


def packages_in(python: Path) -> dict[str, str]:
    """Return the packages of an environment, name to version. Raises OSError or ValueError: its Python is broken."""
    done = subprocess.run(
        [python, "-I", "-c", _LISTING], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ValueError(f"its Python ends with code {done.returncode}{f': {lines[-1]}' if lines else ''}")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _starts(python: Path) -> bool:
    """Whether there is an interpreter; a link to one that was removed from the system does not count."""
    return os.access(python, os.X_OK)


@contextlib.contextmanager
def _alone(environment: Environment, events: Events) -> Iterator[Path]:
    """Hold the right to make one environment; yield the folder of all. Its end, by whatever way, gives the right up."""
    root = environment.folder.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / f".{environment.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise refused(error, root / environment.folder.name, "make") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            events(Notice(f"another process makes the {environment.name} environment; waiting for it"))
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield root
    finally:
        os.close(handle)


def _make(environment: Environment, root: Path, events: Events) -> None:
    prefix = f"{_UNFINISHED}{environment.name}-"
    for left in root.glob(f"{prefix}*"):  # of a process that was killed: this one holds the lock
        shutil.rmtree(left, ignore_errors=True)
    uv = find_uv("makes environments for ONNX and PyTorch models")
    _require_room(environment, root)
    size = f"{environment.disk_mb / 1000:.1f} GB" if environment.disk_mb >= 100 else f"{environment.disk_mb} MB"
    events(Step(f"make the environment that {environment.purpose} ({size}, once)"))
    try:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    except OSError as error:
        raise refused(error, environment.folder, "make") from error
    try:
        _fill(environment, uv, folder, events)
        _take_place(folder, environment.folder)
    except OSError as error:
        raise refused(error, environment.folder, "make") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(environment: Environment, uv: str, folder: Path, events: Events) -> None:
    """Make the environment's folder with its packages, import them once, and write down what they are."""
    # Relocatable: the folder gets another name when it is complete.
    _run(
        environment, [uv, "venv", "--quiet", "--relocatable", "--clear", "--python", _python(environment), str(folder)]
    )
    python = folder / "bin" / "python"
    # Without builds and dependencies, what is installed is what the lock names, and no package's code runs meanwhile.
    install = [uv, "pip", "install", "--python", str(python), "--require-hashes", "--no-deps", "--no-build"]
    install += ["--requirement", str(environment.lock)]
    if environment.index and not any(os.environ.get(name) for name in _ALONE):
        # Best match is safe here: whichever index a file comes from, its hash is known.
        beside = ["--index", environment.index, "--index-strategy", "unsafe-best-match"]
        try:
            _run(environment, install, events)
        except NotFoundError:  # it takes a second to know
            _run(environment, [*install, *beside], events)
    else:
        _run(environment, install, events)
    events(Step(f"try the {environment.name} environment"))
    _try(environment, python)
    (folder / PACKAGES).write_text(json.dumps(packages_in(python), indent=1), encoding="utf-8")


def _run(environment: Environment, command: Sequence[str], events: Events | None = None) -> None:
    """Run uv to its end, tell of what it downloads, and turn its failure into ours."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=environment.folder.parent,  # not where a project's own settings for uv may lie
        env=uv_variables(),
    )
    lines: list[str] = []
    try:
        assert process.stderr is not None  # noqa: S101 - it is a pipe
        for line in process.stderr:
            lines.append(line.rstrip())
            if events is not None and line.startswith("Downloading "):
                events(Step(lines[-1][0].lower() + lines[-1][1:]))
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    if code:
        raise explain(environment, lines)


def _try(environment: Environment, python: Path) -> None:
    code = "import " + ", ".join(environment.imports) if environment.imports else ""
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        done = subprocess.run(
            [python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, env=environ
        )
    except subprocess.TimeoutExpired:
        _fail(environment, f"its packages cannot be imported within {_TIMEOUT_S:g} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        _fail(environment, f"its packages cannot be imported: {lines[-1]}")


def _fail(environment: Environment, reason: str) -> NoReturn:
    raise ConversionError(
        f"the environment that {environment.purpose} was made, but {reason}",
        hint="its packages need a Linux with glibc 2.28 or newer; see what this one is: ldd --version",
    )


def _take_place(folder: Path, place: Path) -> None:
    """Give a complete environment its name; one that is there, broken, goes first."""
    folder.chmod(0o755)  # mkdtemp's is for one user only
    if place.exists():
        grave = Path(tempfile.mkdtemp(prefix=f"{folder.name}-old-", dir=place.parent))
        place.rename(grave / "old")
        folder.rename(place)
        shutil.rmtree(grave, ignore_errors=True)
    else:
        folder.rename(place)


def _python(environment: Environment) -> str:
    """Return which Python to use, in uv's words: this one if it suits, else one that uv finds, else downloads."""
    if environment.oldest <= sys.version_info.minor <= environment.newest:
        return sys.executable
    return f">=3.{environment.oldest},<3.{environment.newest + 1}"


def _require_room(environment: Environment, root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < environment.disk_mb * 1_000_000:
        raise EdgeError(
            f"the environment that {environment.purpose} needs {environment.disk_mb} MB in {root}: "
            f"{free // 1_000_000} MB are free",
            hint="free some space, or choose another disk: export EDGEKIT_ENVIRONMENTS=/path",
        )
