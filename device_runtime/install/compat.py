"""Whether this machine can run a bundle: pure rules over facts that are gathered once."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from typing import Optional

from device_runtime.contract.manifest import ANY, Compat
from device_runtime.contract.status import MachineFacts
from device_runtime.errors import UnfitError


def machine_facts() -> MachineFacts:
    """Return what this machine and the interpreter that installs are."""
    try:
        _, _, glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # another C library
        glibc = ""
    return MachineFacts(platform.machine(), f"cp{sys.version_info[0]}{sys.version_info[1]}", glibc)


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
    python = "any python" if compat.python == ANY else compat.python
    return f"{compat.machine} {python}" + (f" glibc {compat.glibc}" if compat.glibc else "")


def _specific(compat: Compat) -> tuple[bool, bool, tuple[int, ...]]:
    return compat.machine != ANY, compat.python != ANY, _version(compat.glibc)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
