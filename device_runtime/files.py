"""Whole files or none: write beside, flush to disk, rename; and one wording for what the disk refuses."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from device_runtime.errors import BadFileError, EdgeError

_CHUNK_BYTES = 1 << 20


class Replacement:
    """A temporary file beside ``path`` that becomes it, or vanishes.

    The temporary name keeps ``path``'s suffix, because encoders choose their format by it. An existing ``path`` is
    untouched until the new content is complete and on the disk.
    """

    def __init__(self, path: Path) -> None:
        """Make the temporary file. Raises EdgeError when the folder is missing or not writable, or the disk is full."""
        self.path = path
        import tempfile  # noqa: PLC0415 - 4 ms, and an application that only reads needs it not

        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
            os.close(handle)
        except OSError as error:
            raise refused(error, path, "write") from error
        self.temporary = Path(name)

    def commit(self) -> None:
        """Flush the temporary file and give it its name. Raises EdgeError when the disk refuses."""
        try:
            _settle(self.temporary)
            self.temporary.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            self.discard()
            raise refused(error, self.path, "write") from error

    def discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        with contextlib.suppress(OSError):
            self.temporary.unlink()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it becomes ``path``, otherwise it is removed.

    Raises:
        EdgeError: the folder is missing or not writable, or the disk is full.
    """
    replacement = Replacement(path)
    try:
        yield replacement.temporary
        replacement.commit()
    except OSError as error:
        raise refused(error, path, "write") from error
    finally:
        replacement.discard()


@contextlib.contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside ``path``; on success it becomes ``path``, otherwise it is removed.

    ``path`` must not exist yet, or be an empty folder. Its files are not flushed one by one: this is for many small
    files that can be made again.

    Raises:
        EdgeError: something is there already, the folder above is missing or not writable, or the disk is full.
    """
    import shutil  # noqa: PLC0415 - as below
    import tempfile  # noqa: PLC0415 - 4 ms, and an application that only reads needs it not

    try:
        if path.is_symlink() or (path.exists() and not path.is_dir()) or (path.is_dir() and any(path.iterdir())):
            raise _taken(path)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise refused(error, path, "make") from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _taken(path) from error
        raise refused(error, path, "make") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing. Raises EdgeError as ``replacing`` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file or nothing. Raises EdgeError as ``replacing`` does."""
    write_bytes(path, content.encode())


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as 64 hex digits, in bounded memory."""
    import hashlib  # noqa: PLC0415 - 3 ms for OpenSSL, and an application that only reads needs it not

    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below ``folder`` with one of ``suffixes`` (lower case, with their dots), sorted by path.

    Hidden files and folders are left out.
    """
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused(error: OSError, path: Path, action: str) -> EdgeError:
    """Say why the system refused to ``action`` (read, write, …) ``path``, with what would help."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EdgeError(
            f"cannot {action} {path}: no space left on the disk",
            hint=f"free some space, or choose another disk; see: df -h {path.parent}",
        )
    if error.errno == errno.ENOENT and action == "read":
        return BadFileError(f"no such file: {path}")
    if error.errno == errno.ENOENT and not path.parent.is_dir():
        return EdgeError(f"cannot {action} {path}: folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EdgeError(
            f"cannot {action} {path}: {_reason(error)}",
            hint=f"choose another path, or see: ls -ld {path.parent}",
        )
    return EdgeError(f"cannot {action} {path}: {_reason(error)}")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _taken(path: Path) -> EdgeError:
    return EdgeError(f"cannot make {path}: it exists already", hint=f"choose another name; see: ls -lA {path}")


def _settle(path: Path) -> None:
    """Give a finished temporary file the mode a plain open() would have given, and flush it."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fchmod(handle, 0o666 & ~_umask())
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
