"""The checks of this machine. None imports what it checks: a broken package must not break the doctor."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import edgekit
from device_runtime import __version__
from edgekit.doctor.child import PROBE, PYTHON, Reply, ask
from edgekit.doctor.interface import Check, Finding, Status, ok

MINIMUM_PYTHON = (3, 11)

ENGINES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}
"""Engines and their distributions: ``device_runtime.engine.litert.ENGINES``, which cannot be imported without NumPy."""

_FREE_FAIL_BYTES = 200_000_000
_FREE_WARN_BYTES = 2_000_000_000
"""A conversion exports a copy of the model, a bundle for another machine carries about 100 MB of wheels."""

_CARD_PROGRAMS = {"mcopy": "mtools", "debugfs": "e2fsprogs"}

_DAY_S = 86_400.0
_CONFLICTS_SHOWN = 3

_TENSORFLOW = "import tensorflow; print(tensorflow.__version__)"
_QUANTIZER = (
    "import importlib.metadata as m, litert_quantizer.quantizer; "
    "print('litert-quantizer', m.version('litert-quantizer'))"
)


def host_checks(folder: Path, *, quick: bool = False) -> tuple[Check, ...]:
    """Return the checks of this machine, for work in ``folder``; a ``quick`` run leaves the slow ones out."""
    checks = (
        Check("python", "Python", lambda: python_version(sys.version_info[:3])),
        Check("edgekit", "edgekit", edgekit_itself),
        Check("numpy", "NumPy and the engines", lambda: numpy_pairing(installed("numpy"), installed("tflite-runtime"))),
        *(Check(f"engine-{name}", f"Engine {name}", _engine_check(name)) for name in ENGINES),
        Check("video", "Video", lambda: probed("video", "opencv-python-headless")),
        Check("pictures", "Pictures", lambda: probed("pictures", "pillow")),
        Check("quantizer", "Quantiser", lambda: imported(_QUANTIZER, "litert-quantizer")),
        Check("tensorflow", "TensorFlow", lambda: imported(_TENSORFLOW, "tensorflow"), slow=True),
        Check("packages", "Package versions", package_conflicts),
        Check("disk", "Disk, current folder", lambda: free_space(folder)),
        Check("temporary", "Temporary files", temporary_files),
        Check("cameras", "Cameras", cameras),
        Check("cards", "Programs for SD cards", card_programs),
        Check("clock", "Clock", lambda: clock(time.time(), Path(edgekit.__file__).stat().st_mtime)),
    )
    return tuple(check for check in checks if not (quick and check.slow))


def python_version(version: Sequence[int]) -> Finding:
    """Check that this Python is one that edgekit supports."""
    text = ".".join(str(part) for part in version)
    if tuple(version[:2]) >= MINIMUM_PYTHON:
        return ok(f"{text}, {sys.executable}")
    wanted = ".".join(str(part) for part in MINIMUM_PYTHON)
    return Finding(
        Status.FAIL, text, f"Python {wanted} or newer", f"python{wanted} -m venv .venv && .venv/bin/pip install edgekit"
    )


def edgekit_itself() -> Finding:
    """Check that the edgekit that runs is the one that is installed."""
    home = Path(edgekit.__file__).parent
    known = installed("edgekit")
    if known == __version__:
        return ok(f"{__version__} from {home}")
    found = f"{__version__} from {home}, {f'but {known} is installed' if known else 'not installed'}"
    return Finding(
        Status.WARN, found, "the installed edgekit", f"cd {shlex.quote(str(Path.home()))} && {pip('edgekit')}"
    )


def numpy_pairing(numpy: str | None, tflite_runtime: str | None) -> Finding:
    """Check that NumPy's version (None: not installed) suits tflite-runtime's: with NumPy 2 that one crashes."""
    if numpy is None:
        return Finding(Status.FAIL, "not installed", "NumPy", pip(requirement("numpy")))
    if tflite_runtime is not None and int(numpy.partition(".")[0]) >= 2:
        return Finding(
            Status.FAIL,
            f"NumPy {numpy} with tflite-runtime {tflite_runtime}",
            "NumPy below 2 for tflite-runtime, which crashes with it",
            pip("numpy<2"),
        )
    return ok(f"NumPy {numpy}")


def engine(name: str, *, needed: bool, probe: Sequence[str] = PROBE) -> Finding:
    """Check that an engine makes an interpreter and runs it. One that is not ``needed`` may be absent."""
    distribution = ENGINES[name]
    if installed(distribution) is None:
        if not needed:
            return ok("not installed; it is optional")
        return Finding(Status.FAIL, "not installed", distribution, pip(requirement(distribution)))
    return _judged(ask([*probe, "engine", name]), "a model that runs", distribution)


def probed(subject: str, distribution: str, probe: Sequence[str] = PROBE) -> Finding:
    """Check that a package writes and reads what edgekit needs of it."""
    return _judged(ask([*probe, subject]), "to write it and read the same again", distribution)


def imported(code: str, distribution: str) -> Finding:
    """Check that a package can be imported, by code that prints what was found."""
    reply = ask([*PYTHON, "-c", code])
    return _judged(reply, f"to import {distribution}", distribution)


def package_conflicts(python: Sequence[str] = PYTHON) -> Finding:
    """Check that the installed packages' versions fit together, by pip's or uv's own judgement."""
    command = [*python, "-m", "pip", "check"]
    reply = ask(command)
    if "No module named pip" in reply.problem:
        uv = shutil.which("uv")
        if uv is None:
            return ok("not checked: neither pip nor uv is here")
        command = [uv, "pip", "check", "--python", python[0]]
        reply = ask(command)
    if not reply.problem:
        return ok("no conflicts")
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()] or [reply.problem]
    shown = "; ".join(lines[:_CONFLICTS_SHOWN])
    more = f"; and {len(lines) - _CONFLICTS_SHOWN} more" if len(lines) > _CONFLICTS_SHOWN else ""
    return Finding(
        Status.WARN,
        shown + more,
        "versions that fit together",
        f"install what it names; see all: {shlex.join(command)}",
    )


def free_space(folder: Path) -> Finding:
    """Check that the disk of ``folder`` has room for models and bundles."""
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free in {folder}"
    if free >= _FREE_WARN_BYTES:
        return ok(found)
    status = Status.FAIL if free < _FREE_FAIL_BYTES else Status.WARN
    remedy = f"du -xh --max-depth=2 {shlex.quote(str(folder))} | sort -h | tail"
    return Finding(status, found, f"{_FREE_WARN_BYTES / 1e9:g} GB or more", remedy)


def temporary_files(folder: Path | None = None) -> Finding:
    """Check that temporary files (in ``folder``, or where Python puts them) can be written and have room."""
    expected, remedy = "a folder that can be written", "mkdir -p ~/tmp && export TMPDIR=~/tmp"
    try:
        place = folder or Path(tempfile.gettempdir())
        with tempfile.TemporaryFile(dir=place) as stream:
            stream.write(b"edgekit")
            stream.flush()
            os.fsync(stream.fileno())
        return free_space(place)
    except OSError as error:
        return Finding(Status.FAIL, f"cannot write: {error}", expected, remedy)


def cameras(devices: Path = Path("/dev")) -> Finding:
    """Check that there are cameras, and that this user may use them. Both matter only to those who want one."""
    found = sorted(devices.glob("video*"))
    if not found:
        return Finding(
            Status.WARN,
            f"no {devices}/video*",
            "a camera, if you want to use one here",
            "plug one in; or go on without: edgekit demo --source synthetic:belt",
        )
    refused = [path for path in found if not os.access(path, os.R_OK | os.W_OK)]
    if refused:
        return Finding(
            Status.WARN,
            f"not permitted to use {', '.join(str(path) for path in refused)}",
            "permission to read and write it",
            'sudo usermod -aG video "$USER"   # then log in again',
        )
    return ok(", ".join(str(path) for path in found))


def card_programs(path: str | None = None) -> Finding:
    """Check that the programs are here with which cards are written; they matter only to those who flash."""
    where = path or f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    missing = [package for program, package in _CARD_PROGRAMS.items() if shutil.which(program, path=where) is None]
    if not missing:
        return ok(", ".join(_CARD_PROGRAMS.values()))
    return Finding(
        Status.WARN,
        f"not installed: {', '.join(missing)}",
        "the programs with which edgekit flash writes cards, if you want to",
        f"sudo apt install {' '.join(missing)}",
    )


def clock(now: float, installed_at: float) -> Finding:
    """Check that the time (seconds since 1970) is not before edgekit was installed: certificates fail then."""
    told = datetime.fromtimestamp(now, UTC)
    if now >= installed_at - _DAY_S:
        return ok(f"{told:%Y-%m-%d %H:%M} UTC")
    than = datetime.fromtimestamp(installed_at, UTC)
    return Finding(
        Status.FAIL, f"{told:%Y-%m-%d %H:%M} UTC", f"later than {than:%Y-%m-%d}", "sudo timedatectl set-ntp true"
    )


def installed(distribution: str) -> str | None:
    """Return a package's version, or None when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirement(distribution: str) -> str:
    """Return the range of a package that edgekit asks for: ``tensorflow<2.22,>=2.20``."""
    try:
        wanted = importlib.metadata.requires("edgekit") or []
    except importlib.metadata.PackageNotFoundError:
        return distribution
    pattern = re.compile(rf"{re.escape(distribution)}\b(?!-)[^;]*", re.IGNORECASE)
    return next((found.group().strip() for text in wanted if (found := pattern.match(text))), distribution)


def pip(wanted: str) -> str:
    """Return the command that installs a package for this Python."""
    return shlex.join([sys.executable, "-m", "pip", "install", wanted])


def _engine_check(name: str) -> Callable[[], Finding]:
    return lambda: engine(name, needed=name == "litert")


def _judged(reply: Reply, expected: str, distribution: str) -> Finding:
    if not reply.problem:
        return ok(reply.text)
    again = shlex.join([sys.executable, "-m", "pip", "install", "--force-reinstall", requirement(distribution)])
    missing = installed(distribution) is None
    remedy = reply.hint or (pip(requirement(distribution)) if missing else again)
    return Finding(Status.FAIL, reply.problem, expected, remedy)
