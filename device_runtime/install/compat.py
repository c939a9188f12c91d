"""Whether this machine can run a bundle: pure rules over facts that are gathered once."""

from __future__ import annotations

import os
import platform
import sys
from typing import Optional

from device_runtime.contract.manifest import ANY, Compat
from device_runtime.contract.status import MachineFacts
from device_runtime.errors import UnfitError
from device_runtime.install.layout import Bundle, Package


def machine_facts() -> MachineFacts:
    """Return what this machine and the interpreter that installs are."""
    try:
        _, _, glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # another C library
        glibc = ""
    return MachineFacts(platform.machine(), f"cp{sys.version_info[0]}{sys.version_info[1]}", glibc)


def choose_package(bundle: Bundle, facts: MachineFacts) -> Package:
    """Return the package of a bundle that fits best: one made for this machine rather than for any.

    Raises:
        UnfitError: none fits; the message says why, for each.
    """
    reasons = [(package, misfit(package.manifest.compat, facts)) for package in bundle.packages]
    fitting = [package for package, reason in reasons if reason is None]
    if not fitting:
        described = "; ".join(f"for {describe(package.manifest.compat)}: {reason}" for package, reason in reasons)
        named = bundle.packages[0].manifest
        raise UnfitError(
            f"{named.name} {named.version} does not fit this board: {described}",
            hint="make a bundle for this board: edgekit bundle --board ID",
        )
    return max(fitting, key=lambda package: _specific(package.manifest.compat))


def misfit(compat: Compat, facts: MachineFacts) -> Optional[str]:
    """Return why a machine does not fit, or None when it does."""
    if compat.machine not in (ANY, facts.machine):
        return f"expected machine {compat.machine}, got {facts.machine}"
    if compat.python not in (ANY, facts.python):
        return f"expected python {compat.python}, got {facts.python}"
    if compat.glibc and _version(facts.glibc) < _version(compat.glibc):
        return f"expected glibc {compat.glibc} or newer, got {facts.glibc or 'another C library'}"
    return None


def describe(compat: Compat) -> str:
    """Return what a package is made for, in words."""
    if (compat.machine, compat.python) == (ANY, ANY):
        return "any machine"
    return f"{compat.machine} {compat.python}" + (f" glibc {compat.glibc}" if compat.glibc else "")


def _specific(compat: Compat) -> tuple[bool, bool, tuple[int, ...]]:
    return compat.machine != ANY, compat.python != ANY, _version(compat.glibc)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
