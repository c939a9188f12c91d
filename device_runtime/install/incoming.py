"""The folder in which a bundle arrives: how much of it came, and its end."""

from __future__ import annotations

import contextlib
import stat
import time
from pathlib import Path
from typing import Optional

from device_runtime.contract.manifest import BlobRef
from device_runtime.install.fsops import FileSystem, remove_tree
from device_runtime.install.lock import BusyError, receiving
from device_runtime.install.root import PART, Root, is_digest

STALE_S = 7 * 24 * 3600.0
"""What came, and was not installed for so long, is not waited for any more."""


def arrived(root: Root) -> dict[str, int]:
    """Return how many bytes came of each blob, by its 64 hex digits: whole ones, and those that are on their way."""
    found: dict[str, int] = {}
    try:
        paths = sorted(root.incoming_blobs.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    for path in paths:
        name = path.name.removesuffix(PART)
        size = _file_size(path)
        if is_digest(name) and size is not None:
            found[name] = max(size, found.get(name, 0))
    return found


def came(root: Root, blob: BlobRef) -> int:
    """Return how many bytes of a blob came."""
    sizes = (_file_size(root.incoming_blobs / name) for name in (blob.hex, blob.hex + PART))
    return next((size for size in sizes if size is not None), 0)


def discard_incoming(fs: FileSystem, root: Root) -> None:
    """Remove what came; whoever calls holds its lock. Raises OSError."""
    remove_tree(fs, root.incoming)


def discard_stale(fs: FileSystem, root: Root) -> None:
    """Remove what came long ago, unless a host is sending. Raises OSError."""
    if _is_stale(root):
        with contextlib.suppress(BusyError), receiving(fs, root):
            discard_incoming(fs, root)


def _is_stale(root: Root) -> bool:
    paths = [root.incoming, root.incoming_blobs, *_files(root.incoming_blobs)]
    times = []
    for path in paths:
        with contextlib.suppress(OSError):
            times.append(path.lstat().st_mtime)
    return bool(times) and max(times) + STALE_S < time.time()


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _file_size(path: Path) -> Optional[int]:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
