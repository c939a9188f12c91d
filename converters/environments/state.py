"""Whether an environment is made, and whether it is still what was made."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from converters.environments.catalog import Environment
from converters.environments.make import PACKAGES, packages_in

_NAMED = 3


@dataclass(frozen=True)
class State:
    """``made``: it is there. ``problem`` says what is wrong with it then, and is empty when all is well."""

    made: bool
    problem: str = ""


def state_of(environment: Environment) -> State:
    """Look at an environment by asking its Python for its packages; nothing is changed."""
    if not environment.folder.exists():
        return State(made=False)
    try:
        wanted = json.loads((environment.folder / PACKAGES).read_text(encoding="utf-8"))
        found = packages_in(environment.python)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return State(made=True, problem=str(error))
    changed = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if not changed:
        return State(made=True)
    told = [f"{name} is {found.get(name, 'gone')}, was {wanted.get(name, 'not there')}" for name in changed[:_NAMED]]
    more = [f"and {len(changed) - _NAMED} more"] if len(changed) > _NAMED else []
    return State(made=True, problem="; ".join([*told, *more]))
