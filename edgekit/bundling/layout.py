"""Writes a bundle: an OCI image layout in a plain tar, of which equal contents have equal bytes."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from device_runtime.contract.manifest import BlobRef
from device_runtime.contract.oci import BLOBS, INDEX_FILE, LAYOUT_BYTES, LAYOUT_FILE, digest_of
from device_runtime.files import replacing, sha256_of

_BLOCK = 512
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Content:
    """A blob and where its bytes come from: a file, or memory."""

    ref: BlobRef
    source: Path | bytes


def content_of(role: str, name: str, source: Path | bytes, *, unpacked_size: int = 0, files: int = 0) -> Content:
    """Return content with its digest and size. Raises OSError when a file cannot be read."""
    if isinstance(source, bytes):
        digest, size = digest_of(source), len(source)
    else:
        digest, size = f"sha256:{sha256_of(source)}", source.stat().st_size
    return Content(BlobRef(role, digest, size, name, unpacked_size, files), source)


def write_layout(path: Path, index: bytes, contents: Iterable[Content]) -> None:
    """Write a bundle, whole or not at all. Contents that are equal are written once; blobs are sorted by digest.

    Raises:
        EdgeError: the disk refuses.
    """
    unique = {content.ref.hex: content for content in contents}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        _write(stream, LAYOUT_FILE, LAYOUT_BYTES, len(LAYOUT_BYTES))
        _write(stream, INDEX_FILE, index, len(index))
        for digest in sorted(unique):
            _write(stream, BLOBS + digest, unique[digest].source, unique[digest].ref.size)
        stream.write(bytes(2 * _BLOCK))


def _write(stream: BinaryIO, name: str, source: Path | bytes, size: int) -> None:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o644
    stream.write(header.tobuf(tarfile.USTAR_FORMAT))
    if isinstance(source, bytes):
        stream.write(source)
    else:
        with source.open("rb") as file:
            shutil.copyfileobj(file, stream, _COPY_BYTES)
    stream.write(bytes(-size % _BLOCK))
