"""Reads a bundle: a plain tar of an OCI image layout, of which nothing is believed before it was checked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from device_runtime.contract.decode import loads
from device_runtime.contract.manifest import INSTALLER_VERSION, BlobRef, BundleManifest
from device_runtime.contract.oci import (
    BLOBS,
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    Descriptor,
    layer_of,
    read_index,
    read_manifest,
)
from device_runtime.errors import BadFileError, UnfitError
from device_runtime.files import refused

# POSIX.1-1988 ustar: blocks of 512 bytes, one header block per file, two zero blocks at the end.
_BLOCK = 512
_RECORD = 20 * _BLOCK
_ZEROS = bytes(_BLOCK)
_OCTAL = re.compile(rb"[0-7]+[\0 ]")
_NAME = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")

MAX_FILES = 4096
"""Files in a bundle: several platforms of some dozens of wheels stay far below."""
MAX_JSON_BYTES = 4 << 20
"""Size of an index, a manifest or a config, which are read whole."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Package:
    """What a bundle has for one platform. ``release`` is the id: the SHA-256 of ``config``, 64 hex digits."""

    release: str
    manifest: BundleManifest
    config: bytes


class Bundle:
    """An open bundle: an index that was checked, the manifests, and blobs that are checked while they are read.

    ``index_content`` is the index as it is written.
    """

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream = stream
        self._where = where
        self._members = _members(stream, where)
        self._read_layout()
        self.index_content = self._small(INDEX_FILE)
        self.index = read_index(self.index_content, f"{where}: {INDEX_FILE}")
        self._manifests: set[str] = set()
        self.packages = tuple(self._package(descriptor) for descriptor in self.index.manifests)
        self._refuse_strays()

    def has(self, blob: BlobRef) -> bool:
        """Return whether the bundle holds a blob. One that was made for a board leaves out what is there already."""
        return BLOBS + blob.hex in self._members

    def read(self, blob: BlobRef) -> Iterator[bytes]:
        """Yield a blob in pieces; the last one comes only when size and digest were right.

        Raises:
            BadFileError: the blob is missing, cut, or altered.
        """
        name = BLOBS + blob.hex
        where = f"{self._where}: {blob.name}"
        if name not in self._members:
            raise BadFileError(f"{where}: blob {blob.digest} is missing")
        offset, size = self._members[name]
        if size != blob.size:
            raise BadFileError(f"{where}: expected {blob.size} bytes, got {size}")
        digest = hashlib.sha256()
        self._stream.seek(offset)
        piece = b""
        while size:
            yield piece
            piece = self._stream.read(min(size, _CHUNK_BYTES))
            if not piece:
                raise BadFileError(f"{where}: the file ends {size} bytes too early")
            digest.update(piece)
            size -= len(piece)
        if digest.hexdigest() != blob.hex:
            raise BadFileError(f"{where}: altered: expected {blob.digest}, got sha256:{digest.hexdigest()}")
        yield piece

    def _read_layout(self) -> None:
        for name in (LAYOUT_FILE, INDEX_FILE):
            if name not in self._members:
                raise BadFileError(f"{self._where}: not a bundle: {name} is missing")
        if self._small(LAYOUT_FILE) != LAYOUT_BYTES:
            raise BadFileError(f"{self._where}: {LAYOUT_FILE}: expected {LAYOUT_BYTES.decode()}")

    def _small(self, name: str) -> bytes:
        offset, size = self._members[name]
        if size > MAX_JSON_BYTES:
            raise BadFileError(f"{self._where}: {name}: expected at most {MAX_JSON_BYTES} bytes, got {size}")
        self._stream.seek(offset)
        return self._stream.read(size)

    def _package(self, descriptor: Descriptor) -> Package:
        where = f"{self._where}: manifest {descriptor.digest[:19]}"
        manifest = read_manifest(self._checked(descriptor, where), where)
        self._manifests |= {descriptor.digest, manifest.config.digest}
        where = f"{self._where}: config {manifest.config.digest[:19]}"
        config = self._checked(manifest.config, where)
        package = Package(manifest.config.digest.split(":")[1], read_config(config, where), config)
        if manifest.layers != tuple(layer_of(blob) for blob in package.manifest.blobs):
            raise BadFileError(f"{where}: its blobs and the manifest's layers differ")
        return package

    def _checked(self, descriptor: Descriptor, where: str) -> bytes:
        try:
            blob = BlobRef("", descriptor.digest, descriptor.size, "config")
        except ValueError as error:
            raise BadFileError(f"{where}: {error}") from error
        if blob.size > MAX_JSON_BYTES:
            raise BadFileError(f"{where}: expected at most {MAX_JSON_BYTES} bytes, got {blob.size}")
        return b"".join(self.read(blob))

    def _refuse_strays(self) -> None:
        known = {LAYOUT_FILE, INDEX_FILE} | {BLOBS + digest.split(":")[1] for digest in self._manifests}
        known |= {BLOBS + blob.hex for package in self.packages for blob in package.manifest.blobs}
        strays = sorted(set(self._members) - known)
        if strays:
            raise BadFileError(f"{self._where}: {strays[0]}: no manifest names it")


@contextlib.contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle and check everything but the blobs' contents.

    Raises:
        BadFileError: it is not a bundle, or damaged.
        UnfitError: it needs a newer installer.
        EdgeError: it cannot be read.
    """
    try:
        if not path.is_file():
            raise BadFileError(f"no such bundle: {path}")
        stream = path.open("rb")
    except OSError as error:
        raise refused(error, path, "read") from error
    with stream:
        yield Bundle(stream, str(path))


def read_config(content: bytes, where: str) -> BundleManifest:
    """Decode a config blob.

    Raises:
        BadFileError: it is not one.
        UnfitError: it needs a newer installer. This is looked at first: the rest may have changed its form.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFileError(f"{where}: not UTF-8 text") from error
    wanted = loads(_Needs, text, where).compat.installer
    if wanted > INSTALLER_VERSION:
        raise UnfitError(
            f"{where}: needs installer {wanted} or newer, this one is {INSTALLER_VERSION}",
            hint="update edgekit on the board",
        )
    return loads(BundleManifest, text, where)


@dataclass(frozen=True)
class _NeedsInstaller:
    installer: int = 1


@dataclass(frozen=True)
class _Needs:
    compat: _NeedsInstaller = _NeedsInstaller()


def _members(stream: BinaryIO, where: str) -> dict[str, tuple[int, int]]:
    """Return offset and size of every file in a tar, by name; the whole frame of the tar is checked."""
    end = stream.seek(0, os.SEEK_END)
    members: dict[str, tuple[int, int]] = {}
    offset = 0
    while True:
        stream.seek(offset)
        header = stream.read(_BLOCK)
        if len(header) < _BLOCK:
            raise BadFileError(f"{where}: {'empty' if end == 0 else 'cut'}: no end mark after byte {offset}")
        if header == _ZEROS:
            _check_end(stream, offset, end, where)
            return members
        name, size = _header(header, f"{where}: byte {offset}")
        padded = -(-size // _BLOCK) * _BLOCK
        if name in members:
            raise BadFileError(f"{where}: {name} is there twice")
        if offset + _BLOCK + padded > end:
            raise BadFileError(f"{where}: cut: {name} needs {size} bytes, the file ends after {end - offset - _BLOCK}")
        stream.seek(offset + _BLOCK + size)
        if stream.read(padded - size).strip(b"\0"):
            raise BadFileError(f"{where}: altered: data after the end of {name}")
        members[name] = (offset + _BLOCK, size)
        if len(members) > MAX_FILES:
            raise BadFileError(f"{where}: expected at most {MAX_FILES} files")
        offset += _BLOCK + padded


def _header(header: bytes, where: str) -> tuple[str, int]:
    if header[257:265] != b"ustar\x0000":
        raise BadFileError(f"{where}: not a bundle: expected a tar header")
    # The checksum is the sum of the header's bytes with its own eight taken as spaces.
    actual = sum(header[:148]) + sum(header[156:]) + 8 * 0x20
    if header[148:156] != b"%06o\0 " % actual:
        raise BadFileError(f"{where}: altered: the tar header's checksum is wrong")
    if header[156:157] != b"0":
        raise BadFileError(f"{where}: expected a regular file, got tar type {header[156:157]!r}")
    name = header[:100].rstrip(b"\0").decode("ascii", "replace")
    if header[345:500].strip(b"\0") or not _NAME.fullmatch(name):
        raise BadFileError(f"{where}: expected {LAYOUT_FILE}, {INDEX_FILE} or {BLOBS}<64 hex digits>, got {name!r}")
    return name, _octal(header[124:136], where)


def _octal(text: bytes, where: str) -> int:
    digits = _OCTAL.match(text)
    if digits is None or text[digits.end() :].strip(b"\0 "):
        raise BadFileError(f"{where}: altered: expected an octal number, got {text!r}")
    return int(digits.group()[:-1], 8)


def _check_end(stream: BinaryIO, offset: int, end: int, where: str) -> None:
    """Two zero blocks end a tar, and at most one record (20 blocks) of zeros may follow for tape drives' sake."""
    rest = end - offset
    if rest < 2 * _BLOCK or rest > 2 * _BLOCK + _RECORD:
        raise BadFileError(f"{where}: expected 2 blocks of end mark, got {rest} bytes")
    stream.seek(offset)
    if stream.read(rest).strip(b"\0"):
        raise BadFileError(f"{where}: altered: data after the end mark")
