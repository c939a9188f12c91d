"""Python packages for a board, chosen and unpacked on this machine: pip under emulation takes six times as long."""

from __future__ import annotations

from pathlib import Path

from converters.cache import cache_folder
from converters.uv import find_uv, uv_variables
from device_runtime.files import making_folder
from tests.board.rootfs import PYTHONS
from tests.board.running import done, locked, recipe_of, say

_LOCK = Path(__file__).parents[2] / "requirements" / "run.txt"
# uv 0.13 knows no newer one; a board with a newer glibc takes the same wheels.
_NEWEST_GLIBC_MINOR = 40


def site_packages(suite: str, *packages: str) -> Path:
    """Return a folder with packages for a board's Python and what they need, in the versions of the project's lock.

    Raises:
        UnfitError: there is no such wheel, or no network.
    """
    recipe = recipe_of(suite, packages, _LOCK.read_text(encoding="utf-8"))
    folder = cache_folder() / f"board-{suite}-site-{recipe}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            say(f"getting {', '.join(packages)} for {suite}")
            (major, minor), glibc_minor = PYTHONS[suite]
            platform = f"aarch64-manylinux_2_{min(glibc_minor, _NEWEST_GLIBC_MINOR)}"
            words = [find_uv("gets packages for a board"), "pip", "install", "--quiet", "--only-binary", ":all:"]
            words += ["--python-platform", platform, "--python-version", f"{major}.{minor}", "--constraint", str(_LOCK)]
            with making_folder(folder) as made:
                done([*words, "--target", made, *packages], limit_s=600, env=uv_variables())
    return folder
