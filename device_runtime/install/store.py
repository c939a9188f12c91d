"""The blob store: content under its digest, verified while it is written, and verified again before it is trusted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.manifest import BlobRef
from device_runtime.errors import BadFileError
from device_runtime.files import sha256_of
from device_runtime.install.fsops import FileSystem, make_folders, remove_if_there, write_all
from device_runtime.install.root import PART, Root

_READ_ONLY = 0o444
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Store:
    """The blobs of one root."""

    root: Root
    fs: FileSystem

    def path(self, digest: str) -> Path:
        """Return where the blob with these 64 hex digits lies."""
        return self.root.blobs / digest

    def intact(self, blob: BlobRef) -> bool:
        """Return whether a blob is there, and still what its digest says."""
        path = self.path(blob.hex)
        try:
            return not path.is_symlink() and path.stat().st_size == blob.size and sha256_of(path) == blob.hex
        except OSError:
            return False

    def add(self, blob: BlobRef, pieces: Iterable[bytes]) -> None:
        """Write a blob, hashing what is written; a damaged one of that name is replaced.

        It is not flushed: one ``syncfs`` comes before anything refers to it, and a blob that a power cut emptied is
        found by ``intact``.

        Raises:
            BadFileError: the content is not what the digest says; nothing is left.
            OSError: the disk refuses.
        """
        make_folders(self.fs, self.root.blobs)
        part = self.root.blobs / (blob.hex + PART)
        remove_if_there(self.fs, part)
        descriptor = self.fs.create(part)
        digest, size = hashlib.sha256(), 0
        try:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                write_all(self.fs, descriptor, piece)
            self.fs.set_mode(descriptor, _READ_ONLY)
        finally:
            os.close(descriptor)
        if (size, digest.hexdigest()) != (blob.size, blob.hex):
            raise _altered(blob, digest.hexdigest(), size)
        self.fs.rename(part, self.path(blob.hex))

    def adopt(self, blob: BlobRef, source: Path) -> None:
        """Move a blob into the store, when it is what its digest says; ``source`` lies on the same disk.

        Raises:
            BadFileError: the content is not what the digest says; ``source`` is removed, so that it comes anew.
            OSError: the disk refuses.
        """
        make_folders(self.fs, self.root.blobs)
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            digest, size = hashlib.sha256(), 0
            while True:
                piece = os.read(descriptor, _CHUNK_BYTES)
                if not piece:
                    break
                digest.update(piece)
                size += len(piece)
            if (size, digest.hexdigest()) != (blob.size, blob.hex):
                self.fs.remove(source)
                raise _altered(blob, digest.hexdigest(), size)
            self.fs.set_mode(descriptor, _READ_ONLY)
            self.fs.rename(source, self.path(blob.hex))
        finally:
            os.close(descriptor)


def _altered(blob: BlobRef, got: str, size: int) -> BadFileError:
    return BadFileError(f"{blob.name}: expected {blob.digest} of {blob.size} bytes, got sha256:{got} of {size} bytes")
