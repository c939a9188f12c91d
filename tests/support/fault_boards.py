"""The bundles and the boards with which the fault suite begins, made when they are asked for."""

import shutil
from functools import cached_property
from pathlib import Path

from tests.support.bundles import MISSING_IMPORT, OFF_IN_SERVICE, OK, release_of, tiny_bundle
from tests.support.conversing import parts_of, wire
from tests.support.installing import install

_CHECKS = {
    "first": ("1.0", OK),
    "second": ("2.0", OK),  # another model, the same wheel
    "update": ("3.0", f"time.time()\n{OK}"),  # another wheel
    "third": ("4.0", f"time.monotonic()\n{OK}"),
    "bad": ("6.6", OFF_IN_SERVICE),
    "worse": ("6.7", MISSING_IMPORT),
}
_INSTALLED = {
    "one": ("first",),
    "two": ("first", "second"),
    "two wheels": ("first", "update"),
    "damaged": ("first", "second"),
}


class Boards:
    """Boards and bundles in a folder: none of them is to be changed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def bundles(self) -> dict:
        """The paths of all bundles, by name."""
        return {name: tiny_bundle(self._folder, version, check) for name, (version, check) in _CHECKS.items()}

    @cached_property
    def _releases(self) -> dict:
        return {name: release_of(path) for name, path in self.bundles.items()}

    def ids(self, names) -> set:
        """Return the releases that bundles become."""
        return {self._releases.get(name) for name in names}

    def name(self, release) -> str:
        """Return the bundle that became a release."""
        return next((name for name, known in self._releases.items() if known == release), str(release))

    def words(self, scenario) -> list:
        """Return a scenario's command with paths for names."""
        return [str(self.bundles.get(word, word)) for word in scenario.command]

    def said(self, name: str) -> Path:
        """Return a file with what a host says to install a bundle."""
        path = self._folder / f"{name}.said"
        if not path.exists():
            path.write_bytes(wire(parts_of(self.bundles[name]).messages()))
        return path

    def path(self, name: str) -> Path:
        """Return a board: "none" does not exist."""
        root = self._folder / f"board {name}"
        if name != "none" and not root.exists():
            for bundle in _INSTALLED[name]:
                assert install("apply", root, self.bundles[bundle]).code == 0
            if name == "damaged":
                _damage(root)
        return root

    def copy(self, name: str, root: Path) -> Path:
        """Return a copy of a board, to be changed."""
        return shutil.copytree(self.path(name), root, symlinks=True)


def _damage(root: Path) -> None:
    """Spoil the model, a source and the paths of what is current."""
    model = (root / "current" / "model.tflite").resolve()
    model.chmod(0o644)
    model.write_bytes(b"model!.0")
    next((root / "wheels").glob("*/device_runtime/__main__.py")).write_text("raise SystemExit(3)\n")
    (root / "current" / "paths.txt").write_text("/somewhere/else\n")
