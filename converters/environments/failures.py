"""What uv says when it fails, in words that tell what to do."""

from __future__ import annotations

from collections.abc import Sequence

from converters.environments.catalog import Environment
from converters.errors import ConversionError
from device_runtime.errors import EdgeError

_NETWORK = ("dns error", "client error (connect)", "network was disabled", "timed out", "operation timed out")
_FULL = ("no space left on device", "os error 28", "disk quota exceeded")
_PYTHON = ("no interpreter found", "python-build-standalone", "no download was found")
_CAUSES = 2


class NotFoundError(ConversionError):
    """A package of a lock is in no index and no folder that uv was told of."""


def explain(environment: Environment, lines: Sequence[str]) -> EdgeError:
    """Return the error for what uv wrote to stderr before it ended with a failure."""
    what = f"cannot make the environment that {environment.purpose}"
    text = "\n".join(lines).lower()
    pythons = f"Python 3.{environment.oldest} to 3.{environment.newest}"
    if any(sign in text for sign in _FULL):
        return EdgeError(
            f"{what}: no space left on the disk",
            hint="free some space, or choose another disk: export EDGEKIT_ENVIRONMENTS=/path UV_CACHE_DIR=/path",
        )
    if any(sign in text for sign in _PYTHON):
        return ConversionError(
            f"{what}: it needs {pythons}, found none, and cannot download one: {_cause(lines)}",
            hint=f"install one: sudo apt install python3.{environment.newest}; or with a network: "
            f"uv python install 3.{environment.newest}",
        )
    if "hash mismatch" in text:
        return ConversionError(
            f"{what}: a downloaded package is not the one that was pinned: {_cause(lines)}",
            hint="a proxy or a mirror may have changed it; try again from another network, with: UV_NO_CACHE=1",
        )
    if any(sign in text for sign in _NETWORK):
        return ConversionError(
            f"{what}: packages cannot be downloaded: {_cause(lines)}",
            hint=f"connect to the network once and run: edgekit doctor --prepare {environment.name}; "
            "or name a folder that has them: UV_FIND_LINKS=/folder UV_NO_INDEX=1",
        )
    if "no solution found" in text:
        hint = f"some of it is in {environment.index} only, which was not to be asked" if environment.index else ""
        return NotFoundError(f"{what}: {_cause(lines)}", hint=hint)
    return ConversionError(f"{what}: {_cause(lines)}")


def _cause(lines: Sequence[str]) -> str:
    """Return what uv gives as the error, and the last of its causes."""
    said = [line.strip().removeprefix("error: ").removeprefix("cause: ") for line in lines if _tells(line)]
    if not said:
        return lines[-1].strip() if lines else "uv says nothing"
    return "; ".join(dict.fromkeys([said[0], *said[-_CAUSES:]]))


def _tells(line: str) -> bool:
    return line.strip().startswith(("error:", "cause:"))
