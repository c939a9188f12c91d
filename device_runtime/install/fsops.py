"""Every system call that changes the file system, one method each, so that tests can make each of them fail."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

FOLDER_MODE = 0o755
FILE_MODE = 0o644


class FileSystem:
    """The real file system. A method is one mutating system call, and raises OSError as the system gave it.

    Tests put an object of the same methods in its place: one that kills the process before the n-th call, writes
    short, or has no space left.
    """

    def make_folder(self, path: Path) -> None:
        """Make one folder; its parent exists."""
        path.mkdir(FOLDER_MODE)

    def create(self, path: Path, mode: int = FILE_MODE) -> int:
        """Create a file that must not exist, and return its descriptor for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    def open_append(self, path: Path) -> int:
        """Open a file at its end, creating it when it is missing, and return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)

    def write(self, descriptor: int, data: bytes) -> int:
        """Write some of ``data`` and return how many bytes were taken."""
        return os.write(descriptor, data)

    def set_mode(self, descriptor: int, mode: int) -> None:
        """Set an open file's permission bits, whatever the umask."""
        os.fchmod(descriptor, mode)

    def set_owner(self, descriptor: int, uid: int, gid: int) -> None:
        """Give an open file or folder to an account."""
        os.fchown(descriptor, uid, gid)

    def sync(self, descriptor: int) -> None:
        """Flush one file, or a folder's entries, to the disk."""
        os.fsync(descriptor)

    def sync_all(self, descriptor: int) -> None:
        """Flush the whole file system that ``descriptor`` is on: one call for all files, data and names."""
        _syncfs(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Move ``source`` to ``target``; a file or link of that name is replaced in the same instant."""
        source.replace(target)

    def symlink(self, target: str, path: Path) -> None:
        """Make ``path`` a symbolic link to ``target``."""
        path.symlink_to(target)

    def remove(self, path: Path) -> None:
        """Remove a file or a link."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()


def make_folders(fs: FileSystem, path: Path) -> None:
    """Make a folder and its missing parents."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            fs.make_folder(folder)


def write_all(fs: FileSystem, descriptor: int, data: bytes) -> None:
    """Write all of ``data``, however little the system takes at once."""
    view = memoryview(data)
    while view:
        view = view[fs.write(descriptor, bytes(view) if len(view) < len(data) else data) :]


def write_file(fs: FileSystem, path: Path, data: bytes, mode: int = FILE_MODE) -> None:
    """Create a file with this content and mode; it is not flushed."""
    descriptor = fs.create(path, mode)
    try:
        write_all(fs, descriptor, data)
        fs.set_mode(descriptor, mode)
    finally:
        os.close(descriptor)


def replace_file(fs: FileSystem, path: Path, data: bytes) -> None:
    """Replace a file by one with this content: the old one or the new one is there, also after a power cut."""
    temporary = path.with_name(f".tmp-{path.name}")
    remove_if_there(fs, temporary)
    descriptor = fs.create(temporary)
    try:
        write_all(fs, descriptor, data)
        fs.sync(descriptor)
    finally:
        os.close(descriptor)
    fs.rename(temporary, path)
    sync_folder(fs, path.parent)


def replace_link(fs: FileSystem, path: Path, target: str) -> None:
    """Make ``path`` a link to ``target``: the old link or the new one is there, also after a power cut."""
    temporary = path.with_name(f".tmp-{path.name}")
    remove_if_there(fs, temporary)
    fs.symlink(target, temporary)
    fs.rename(temporary, path)
    sync_folder(fs, path.parent)


def sync_folder(fs: FileSystem, folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fs.sync(descriptor)
    finally:
        os.close(descriptor)


def sync_everything(fs: FileSystem, folder: Path) -> None:
    """Flush the whole file system that ``folder`` is on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fs.sync_all(descriptor)
    finally:
        os.close(descriptor)


def remove_if_there(fs: FileSystem, path: Path) -> None:
    """Remove a file or a link that may be missing."""
    if os.path.lexists(path):
        fs.remove(path)


def remove_tree(fs: FileSystem, path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        remove_if_there(fs, path)
        return
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            fs.remove(Path(folder, name))
        for name in folders:
            inner = Path(folder, name)
            if inner.is_symlink():
                fs.remove(inner)
            else:
                fs.remove_folder(inner)
    fs.remove_folder(path)


def _syncfs(descriptor: int) -> None:
    """Call syncfs(2), which Python does not have; where the C library has none either, flush all file systems."""
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        os.sync()
        return
    if call(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
