"""What uv says when it fails, in words that tell what to do."""

from __future__ import annotations

from collections.abc import Sequence

from converters.environments.catalog import Environment
from converters.errors import ConversionError
from converters.uv import cause_of, lacks_network
from device_runtime.errors import EdgeError

_FULL = ("no space left on device", "os error 28", "disk quota exceeded")
_PYTHON = ("no interpreter found", "python-build-standalone", "no download was found")


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
            f"{what}: it needs {pythons}, found none, and cannot download one: {cause_of(lines)}",
            hint=f"install one: sudo apt install python3.{environment.newest}; or with a network: "
            f"uv python install 3.{environment.newest}",
        )
    if "hash mismatch" in text:
        return ConversionError(
            f"{what}: a downloaded package is not the one that was pinned: {cause_of(lines)}",
            hint="a proxy or a mirror may have changed it; try again from another network, with: UV_NO_CACHE=1",
        )
    if lacks_network(lines):
        return ConversionError(
            f"{what}: packages cannot be downloaded: {cause_of(lines)}",
            hint=f"connect to the network once and run: edgekit doctor --prepare {environment.name}; "
            "or name a folder that has them: UV_FIND_LINKS=/folder UV_OFFLINE=1",
        )
    if "no solution found" in text:
        hint = f"some of it is in {environment.index} only, which was not to be asked" if environment.index else ""
        return NotFoundError(f"{what}: {cause_of(lines)}", hint=hint)
    return ConversionError(f"{what}: {cause_of(lines)}")
