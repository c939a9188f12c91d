"""An emulated arm64 machine that runs one measurement from memory: no disk, no network, one core.

Debian's packages are unpacked and not configured, so that nothing of arm64 has to run here while it is made. Made once,
and kept outside the checkout.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from camera_loop.arm64_guest import ENTRIES, SAID
from camera_loop.cpio import Cpio
from camera_loop.race import HERE
from converters.cache import cache_folder
from device_runtime.errors import UnfitError
from device_runtime.files import making_folder

_SUITE, _PYTHON, _GLIBC_MINOR = "bookworm", (3, 11), 36
_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "linux-image-arm64")
_WHEELS = frozenset(
    {
        "ai-edge-litert",
        "backports-strenum",
        "flatbuffers",
        "ml-dtypes",
        "numpy",
        "opencv-python-headless",
        "pillow",
        "protobuf",
        "tqdm",
        "typing-extensions",
    }
)
"""ai-edge-litert, OpenCV and Pillow, and what they import; their versions are those of the project's own lock."""
_OLDEST_GLIBC_MINOR = 17
"""Of manylinux2014, the oldest with aarch64 (PEP 599); pip takes exactly the platforms that it is told."""
_LEFT_OUT = ("dev/", "boot/")
_NOT_UNPACKED = ("/usr/share/*", "/lib/modules/*")
_MEMORY_MB = 2048
_LIMIT_S = 900
_RECIPE = 1
"""To be counted up whenever what is kept is made otherwise."""


def machine() -> Path:
    """Return the folder with a kernel, ``vmlinuz``, and everything but what is measured, ``root.cpio``.

    Raises:
        UnfitError: a program, a Debian mirror or the right Python is missing, or one of the steps failed.
    """
    for program in ("mmdebstrap", "qemu-system-aarch64"):
        if shutil.which(program) is None:
            raise UnfitError(f"{program}: expected it to be installed", hint="apt install mmdebstrap qemu-system-arm")
    lock = HERE.parent / "requirements/run.txt"
    recipe = repr((_RECIPE, _SUITE, _PACKAGES, sorted(_WHEELS), lock.read_text(encoding="utf-8")))
    folder = cache_folder() / "arm64" / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    if not folder.exists():
        if sys.version_info[:2] != _PYTHON:
            raise UnfitError(f"Python: expected 3.11, as the emulated machine has it, got {sys.version.split()[0]}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with making_folder(folder) as made, tempfile.TemporaryDirectory(dir=folder.parent) as work:
            _make(made, Path(work), lock)
    return folder


def run(cpu: str, entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what the guest counted, by entry.

    Args:
        cpu: QEMU's name of it.
        entries: the options of each, see ``Bench.options``.

    Raises:
        UnfitError: the machine could not be made, or it gave no answer.
    """
    made = machine()
    with tempfile.TemporaryDirectory(dir=made.parent) as work:
        memory = Path(work) / "memory.cpio"
        with memory.open("wb") as stream:
            with (made / "root.cpio").open("rb") as root:
                shutil.copyfileobj(root, stream, 1 << 20)
            with Cpio(stream) as archive:
                _add_measurement(archive, entries)
        return _boot(cpu, made / "vmlinuz", memory)


def _make(folder: Path, work: Path, lock: Path) -> None:
    packed, wheels, pins = work / "root.tar", work / "site", work / "pins.txt"
    print(f"· making an arm64 machine in {folder.parent}", file=sys.stderr)
    options = ["--architectures=arm64", "--variant=extract", f"--include={','.join(_PACKAGES)}"]
    options += [f"--dpkgopt=path-exclude={pattern}" for pattern in _NOT_UNPACKED]
    _done(["mmdebstrap", *options, _SUITE, packed, *_mirrors()])
    pins.write_text("\n".join(_pinned(lock.read_text(encoding="utf-8"))), encoding="utf-8")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(_OLDEST_GLIBC_MINOR, _GLIBC_MINOR + 1)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    _done([*pip, "--no-deps", "--only-binary=:all:", *platforms, "--target", wheels, "-r", pins])
    with tarfile.open(packed) as archive, (folder / "root.cpio").open("wb") as stream, Cpio(stream) as root:
        kernels = [name for name in archive.getnames() if name.startswith("./boot/vmlinuz-")]
        kernel = archive.extractfile(kernels[0]) if kernels else None
        if kernel is None:
            raise UnfitError(f"{_PACKAGES[-1]}: expected a kernel in it, got none")
        (folder / "vmlinuz").write_bytes(kernel.read())
        root.add_tar(archive, _LEFT_OUT)
        root.add_tree(wheels, "site")


def _mirrors() -> list[str]:
    """Return the sources of the suite that this machine's apt is configured with, as lines of sources.list."""
    told = _done(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI) $(COMPONENT)", "Created-By: Packages"]
    )
    found = sorted({line for line in told.splitlines() if re.match(rf"{_SUITE}(-\w+)? \S+ main$", line)})
    if not any(line.startswith(f"{_SUITE} ") for line in found):
        raise UnfitError(
            f"apt: expected a mirror of Debian {_SUITE}, got none", hint="see: apt-get indextargets; or apt-get update"
        )
    return ["deb {1} {0} {2}".format(*line.split()) for line in found]


def _pinned(lock: str) -> Iterable[str]:
    """Yield the entries of a lock that are needed, with their hashes."""
    for entry in re.split(r"\n(?=\S)", lock):
        if entry.partition("==")[0] in _WHEELS:
            yield entry


def _add_measurement(archive: Cpio, entries: dict[str, dict[str, Any]]) -> None:
    runtime = HERE.parent / "device_runtime"
    archive.add_tree(runtime, "bench/device_runtime", lambda path: path.suffix == ".py")
    archive.add_tree(HERE / "camera_loop", "bench/camera_loop", lambda path: path.suffix == ".py")
    files = {Path(options[key]) for options in entries.values() for key in ("model", "spec", "clip")}
    for path in sorted(files):
        archive.add_file(path, f"bench/{path.name}")
    moved = {name: _moved(options) for name, options in entries.items()}
    archive.add(str(ENTRIES).removeprefix("/"), 0o100644, json.dumps(moved).encode())


def _moved(options: dict[str, Any]) -> dict[str, Any]:
    paths = {key: f"/bench/{Path(options[key]).name}" for key in ("model", "spec", "clip")}
    return {**options, **paths, "source": f"file:{paths['clip']}"}


def _boot(cpu: str, kernel: Path, memory: Path) -> dict[str, dict[str, float]]:
    # Addresses and hashes are the same in each run. What follows the two dashes are the first process's arguments.
    line = (
        "quiet console=ttyAMA0 panic=-1 norandmaps rdinit=/usr/bin/python3.11 "
        "PYTHONHASHSEED=0 PYTHONPATH=/bench:/site -- -m camera_loop.arm64_guest"
    )
    words: list[str | Path] = ["qemu-system-aarch64", "-M", "virt", "-cpu", cpu, "-smp", "1", "-m", str(_MEMORY_MB)]
    words += ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
    words += ["-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"]
    said = _done([*words, "-kernel", kernel, "-initrd", memory, "-append", line])
    answer = next((text for text in said.splitlines() if text.startswith(SAID)), None)
    if answer is None:
        raise UnfitError(f"the emulated machine ({cpu}) gave no counts: {said.strip()[-1500:]}")
    counts: dict[str, dict[str, float]] = json.loads(answer.removeprefix(SAID))
    return counts


def _done(command: list[str | Path]) -> str:
    """Run a command and return what it printed."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnfitError(f"{name}: expected it to end within {_LIMIT_S} s, got no end") from error
    if done.returncode:
        raise UnfitError(f"{name}: exit {done.returncode}: {done.stderr.strip()[-800:]}")
    return done.stdout
