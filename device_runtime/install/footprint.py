"""What a measurement leaves on a board: nothing, not even a folder or the file of a lock that was not there before."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from device_runtime.install.fsops import FileSystem, remove_if_there, remove_tree
from device_runtime.install.root import Root

PAUSED = "paused"
"""In ``Root.bench``: the service was stopped for a measurement, and has to be started again."""


@dataclass(frozen=True)
class Footprint:
    """Files of locks, and folders, that were not there; the innermost folder comes first."""

    locks: tuple[Path, ...]
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folder: Path, *locks: Path) -> Footprint:
        """Note what of a folder, its parents, and the files of locks in it is missing now."""
        return cls(
            tuple(lock for lock in locks if not os.path.lexists(lock)),
            tuple(each for each in (folder, *folder.parents) if not each.is_dir()),
        )

    def wipe(self, fs: FileSystem) -> None:
        """Remove them; whoever calls holds the locks. Folders in which something else lies now stay. Raises OSError."""
        for lock in self.locks:
            remove_if_there(fs, lock)
        with contextlib.suppress(OSError):
            for folder in self.folders:
                fs.remove_folder(folder)


def discard_stage(fs: FileSystem, root: Root) -> None:
    """Remove what came, and was built, to be measured; whoever calls holds the lock of what comes. Raises OSError."""
    try:
        found = sorted(root.bench.iterdir())
    except FileNotFoundError:
        return
    for path in found:
        if path.name != PAUSED:
            remove_tree(fs, path)
    if all(path.name != PAUSED for path in found):
        fs.remove_folder(root.bench)
