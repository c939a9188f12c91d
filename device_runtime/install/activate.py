"""The links ``current`` and ``previous``: they follow the state, and are only ever replaced by a rename."""

from __future__ import annotations

import os
from typing import Optional

from device_runtime.install.fsops import FileSystem, remove_if_there, replace_link, sync_folder
from device_runtime.install.root import Root, link_to


def point_current(fs: FileSystem, root: Root, release: Optional[str]) -> None:
    """Let ``current`` point to a release, or be absent. Raises OSError."""
    _point(fs, root, "current", release)


def point_previous(fs: FileSystem, root: Root, release: Optional[str]) -> None:
    """Let ``previous`` point to a release, or be absent. Raises OSError."""
    _point(fs, root, "previous", release)


def _point(fs: FileSystem, root: Root, name: str, release: Optional[str]) -> None:
    link = root.path / name
    if release is None:
        if os.path.lexists(link):
            remove_if_there(fs, link)
            sync_folder(fs, root.path)
        return
    try:
        if str(link.readlink()) == link_to(release):
            return
    except OSError:
        pass  # missing, or not a link: replaced below
    replace_link(fs, link, link_to(release))
