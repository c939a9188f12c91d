"""The package installer uv: where it is, what it is told of this machine, and what it means when it fails."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from device_runtime.errors import EdgeError

_NETWORK = ("dns error", "client error (connect)", "network was disabled", "timed out", "operation timed out")
_CAUSES = 2


def find_uv(purpose: str) -> str:
    """Return where uv is: a dependency of edgekit, so beside this Python, or else on PATH.

    Args:
        purpose: what it is needed for, as ``makes environments``.

    Raises:
        EdgeError: there is none.
    """
    try:
        import uv  # noqa: PLC0415 - only those who need packages need it

        return os.fspath(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise EdgeError(f"uv, which {purpose}, is not installed", hint=f"{sys.executable} -m pip install uv")
    return found


def uv_variables() -> dict[str, str]:
    """Return the environment for uv: the user's own, with what pip is told once."""
    variables = {**os.environ, "NO_COLOR": "1", "UV_NO_PROGRESS": "1", "PATH": _search_path()}
    folders = variables.get("PIP_FIND_LINKS")
    if folders and "UV_FIND_LINKS" not in variables:  # what pip is told once need not be told again
        variables["UV_FIND_LINKS"] = ",".join(folders.split())
    return variables


def lacks_network(lines: Sequence[str]) -> bool:
    """Return whether uv failed because it could not reach an index."""
    text = "\n".join(lines).lower()
    return any(sign in text for sign in _NETWORK)


def cause_of(lines: Sequence[str]) -> str:
    """Return what uv gives as the error, and the last of its causes."""
    said = [line.strip().removeprefix("error: ").removeprefix("cause: ") for line in lines if _tells(line)]
    if not said:
        return lines[-1].strip() if lines else "uv says nothing"
    return "; ".join(dict.fromkeys([said[0], *said[-_CAUSES:]]))


def _tells(line: str) -> bool:
    return line.strip().startswith(("error:", "cause:"))


def _search_path() -> str:
    """Return PATH with pyenv's Pythons behind it: uv sees only the one that pyenv has switched on."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pythons = sorted(str(folder) for folder in root.glob("versions/3.*/bin"))
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *pythons])
