"""The links ``current`` and ``previous``: they follow the state, and are only ever replaced by a rename."""

from __future__ import annotations

import os
from typing import Optional

from device_runtime.install.fsops import FileSystem, remove_if_there, replace_link, sync_folder
from device_runtime.install.root import Root, link_to, linked_release


def point_current(fs: FileSystem, root: Root, release: Optional[str]) -> None:
    """Let ``current`` point to a release, or be absent. Raises OSError."""
    _point(fs, root, "current", release)


def point_previous(fs: FileSystem, root: Root, release: Optional[str]) -> None:
    """Let ``previous`` point to a release, or be absent. Raises OSError."""
    _point(fs, root, "previous", release)


def prepare_return(fs: FileSystem, root: Root, release: Optional[str]) -> None:
    """Make the link with which ``point_current`` can return to ``release`` on a full disk. Raises OSError."""
    remove_if_there(fs, root.way_back)
    if release is not None:
        # A target of more than 59 bytes takes a block of its own on ext4: it is not to be had when it is needed.
        fs.symlink(link_to(release), root.way_back)


def forget_return(fs: FileSystem, root: Root) -> None:
    """Remove the link that ``prepare_return`` made, if it is still there. Raises OSError."""
    remove_if_there(fs, root.way_back)


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
    if link == root.current and linked_release(root.way_back) == release:
        fs.rename(root.way_back, link)
        sync_folder(fs, root.path)
    else:
        replace_link(fs, link, link_to(release))
