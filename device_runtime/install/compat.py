"""Whether this machine can run a bundle: pure rules over facts that are gathered once."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from device_runtime.contract.manifest import ANY, Compat
from device_runtime.contract.status import MachineFacts
from device_runtime.errors import UnfitError
from device_runtime.install.layout import Package

_MODEL = Path("/sys/firmware/devicetree/base/model")
_MEMORY = Path("/proc/meminfo")


class MissingPackagesError(UnfitError):
    """A release imports modules that come with the system's packages, and they are not installed."""

    code = "missing-packages"


def machine_facts() -> MachineFacts:
    """Return what this machine and the interpreter that installs are."""
    try:
        _, _, glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # another C library
        glibc = ""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    return MachineFacts(machine_of(platform.machine(), sys.maxsize), python, glibc, _board(), _memory_bytes())


def machine_of(kernel: str, largest: int) -> str:
    """Return what programs are made for here: ``kernel`` is the kernel's machine, ``largest`` Python's ``sys.maxsize``.

    32-bit Raspberry Pi OS runs a 64-bit kernel on boards that can.
    """
    return "armv7l" if kernel == "aarch64" and largest < 2**32 else kernel


def choose(named: str, compats: Sequence[Compat], facts: MachineFacts) -> int:
    """Return the index of what fits a machine best: what was made for it rather than for any.

    Raises:
        UnfitError: nothing fits; the message says of ``named`` why, for each.
    """
    reasons = [misfit(compat, facts) for compat in compats]
    fitting = [index for index, reason in enumerate(reasons) if reason is None]
    if not fitting:
        described = "; ".join(f"for {describe(compat)}: {reason}" for compat, reason in zip(compats, reasons))
        raise UnfitError(
            f"{named} does not fit this board: {described}",
            hint="make a bundle for this board: edgekit bundle --board ID",
        )
    return max(fitting, key=lambda index: _specific(compats[index]))


def choose_package(packages: Sequence[Package]) -> Package:
    """Return what fits this machine best.

    Raises:
        UnfitError: nothing fits, or what would lacks packages of the system.
    """
    named = packages[0].manifest
    compats = [package.manifest.compat for package in packages]
    package = packages[choose(f"{named.name} {named.version}", compats, machine_facts())]
    require_packages(package.manifest.compat)
    return package


def misfit(compat: Compat, facts: MachineFacts) -> Optional[str]:
    """Return why a machine does not fit, or None when it does."""
    if compat.machine not in (ANY, facts.machine):
        return f"expected machine {compat.machine}, got {facts.machine}"
    if compat.python not in (ANY, facts.python):
        return f"expected python {compat.python}, got {facts.python}"
    if facts.memory_bytes and compat.memory_bytes > facts.memory_bytes:
        return f"expected {compat.memory_bytes} bytes of memory or more, got {facts.memory_bytes}"
    if compat.glibc and _version(facts.glibc) < _version(compat.glibc):
        return f"expected glibc {compat.glibc} or newer, got {facts.glibc or 'another C library'}"
    return None


def require_packages(compat: Compat) -> None:
    """Look for the system's packages that a release imports.

    Raises:
        MissingPackagesError: some are missing, and the hint installs them.
    """
    missing = [each for each in compat.system_packages if not _importable(each.module)]
    if missing:
        names = ", ".join(each.module for each in missing)
        packages = " ".join(sorted({each.package for each in missing}))
        raise MissingPackagesError(
            f"this board lacks what the system has to bring: {names}", hint=f"on the board: sudo apt install {packages}"
        )


def describe(compat: Compat) -> str:
    """Return what a package is made for, in words."""
    if (compat.machine, compat.python) == (ANY, ANY):
        return "any machine"
    python = "any python" if compat.python == ANY else compat.python
    return f"{compat.machine} {python}" + (f" glibc {compat.glibc}" if compat.glibc else "")


def _specific(compat: Compat) -> tuple[bool, bool, tuple[int, ...]]:
    return compat.machine != ANY, compat.python != ANY, _version(compat.glibc)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _importable(module: str) -> bool:
    """Return whether the interpreter that runs releases finds a module of the system."""
    try:
        # Neither we (-I) nor a release (PYTHONNOUSERSITE) see what is a user's own.
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _board() -> str:
    """Return what the devicetree calls this machine; it ends with a NUL (Devicetree Specification 0.4, 2.2.4)."""
    try:
        text = _MODEL.read_bytes()
    except OSError:
        return ""
    return text.rstrip(b"\0").decode("utf-8", "replace").strip()


def _memory_bytes() -> int:
    """Return all of the memory that Linux has, or 0 where it does not say (proc_meminfo(5))."""
    try:
        lines = _MEMORY.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, rest = line.partition(":")
        if name == "MemTotal" and rest.split()[:1] and rest.split()[0].isdigit():
            return int(rest.split()[0]) * 1024
    return 0
