"""Removes what no release needs any more, and what killed commands left unfinished."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from device_runtime.contract.status import InstallState
from device_runtime.errors import EdgeError
from device_runtime.install.fsops import FileSystem, remove_tree
from device_runtime.install.incoming import discard_stale
from device_runtime.install.lock import BusyError, in_use, receiving
from device_runtime.install.release import read_release
from device_runtime.install.root import ASIDE, PART, TEMPORARY, Root, is_digest

KEPT_LOGS = 10
"""Of so many releases that failed, the newest, the log is kept."""


def collect(fs: FileSystem, root: Root, state: InstallState) -> list[str]:
    """Remove releases that nothing keeps, wheels and blobs that no kept release names, and what came long ago.

    Kept is what is committed, its fallback, a release on trial, and what a process is using.

    Returns:
        The ids of the releases that were removed.

    Raises:
        OSError: the disk refuses; what is left is removed by the next call.
    """
    kept = {release for release in (state.committed, state.fallback) if release}
    if state.trial:
        kept |= {state.trial.release}
    removed = []
    for release in root.installed():
        folder = root.release(release)
        if release not in kept and in_use(folder):
            kept.add(release)
        elif release not in kept:
            _remove_whole(fs, folder)
            removed.append(release)
    _collect_content(fs, root, kept)
    discard_stale(fs, root)
    _collect_logs(fs, root)
    return removed


def sweep(fs: FileSystem, root: Root) -> None:
    """Remove the temporary files of commands that were killed. Raises OSError.

    What was put aside to be replaced, and was not replaced, comes back: damaged parts may still be better than none.
    """
    for folder in (root.path, root.blobs, root.wheels, root.releases, root.logs):
        try:
            names = sorted(path.name for path in folder.iterdir())
        except FileNotFoundError:
            continue
        for name in names:
            replaced = folder / name[len(ASIDE) :]
            if name.startswith(ASIDE) and is_digest(replaced.name) and not os.path.lexists(replaced):
                fs.rename(folder / name, replaced)
            elif folder / name == root.bench:
                # A host that is sending what is to be measured holds the other lock.
                with contextlib.suppress(BusyError), receiving(fs, root):
                    remove_tree(fs, root.bench)
            elif name.startswith(TEMPORARY) or name.endswith(PART):
                remove_tree(fs, folder / name)


def _remove_whole(fs: FileSystem, folder: Path) -> None:
    """Remove a folder, first out of sight: a half-removed one must not be taken for a whole one."""
    hidden = folder.with_name(TEMPORARY + folder.name)
    remove_tree(fs, hidden)
    fs.rename(folder, hidden)
    remove_tree(fs, hidden)


def _collect_logs(fs: FileSystem, root: Root) -> None:
    try:
        logs = sorted(root.logs.iterdir(), key=lambda path: path.lstat().st_mtime)
    except FileNotFoundError:
        return
    for path in logs[:-KEPT_LOGS]:
        fs.remove(path)


def _collect_content(fs: FileSystem, root: Root, kept: set[str]) -> None:
    wheels: set[str] = set()
    blobs: set[str] = set()
    for release in kept & set(root.installed()):
        try:
            manifest = read_release(root, release)
        except EdgeError:
            return  # a damaged release does not say what it needs: keep everything
        wheels |= {blob.hex for blob in manifest.of_role("wheel")}
        blobs |= {blob.hex for blob in manifest.blobs}
    for digest in root.unpacked():
        if digest not in wheels:
            _remove_whole(fs, root.wheels / digest)
    for digest in root.stored():
        if digest not in blobs:
            fs.remove(root.blobs / digest)
