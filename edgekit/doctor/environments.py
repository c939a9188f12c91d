"""Checks of the isolated environments in which ONNX and PyTorch models are read."""

from __future__ import annotations

import functools
from collections.abc import Collection

from converters.environments.catalog import ENVIRONMENTS, Environment
from converters.environments.state import state_of
from edgekit.doctor.interface import Check, Finding, Status, ok


def environment_checks(names: Collection[str] = tuple(ENVIRONMENTS)) -> tuple[Check, ...]:
    """Return a check for each environment, or for those of ``names``."""
    return tuple(
        Check(f"environment-{name}", f"Environment {name}", functools.partial(environment_finding, environment))
        for name, environment in ENVIRONMENTS.items()
        if name in names
    )


def environment_finding(environment: Environment) -> Finding:
    """Check that an environment, if it is made, is what was made. One that is not made yet is no failure."""
    state = state_of(environment)
    size = f"{environment.disk_mb / 1000:.1f} GB"
    if not state.made:
        return ok(f"not made yet; it {environment.purpose}, takes {size}, and is made when it is first needed")
    if not state.problem:
        return ok(f"{environment.purpose}, {environment.folder}")
    return Finding(
        Status.FAIL,
        f"{environment.folder}: {state.problem}",
        "the packages that it was made with",
        f"edgekit doctor --prepare {environment.name}",
    )
