"""Reads a bundle: an OCI image layout, in a tar or as a folder, of which nothing is believed before it was checked."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from device_runtime.contract.decode import loads
from device_runtime.contract.manifest import INSTALLER_VERSION, BlobRef, BundleManifest
from device_runtime.contract.oci import (
    BLOBS,
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    Descriptor,
    OciManifest,
    layer_of,
    read_index,
    read_manifest,
)
from device_runtime.errors import BadFileError, UnfitError
from device_runtime.files import refused
from device_runtime.install.members import FolderMembers, Members, TarMembers

MAX_JSON_BYTES = 4 << 20
"""Size of an index, a manifest or a config, which are read whole."""
Admit = Callable[[bytes], None]
"""Looks at an index before anything that it names is believed; raises what it has against it."""


@dataclass(frozen=True)
class Package:
    """What a bundle has for one platform. ``release`` is the id: the SHA-256 of ``config``, 64 hex digits."""

    release: str
    manifest: BundleManifest
    config: bytes


class Bundle:
    """An open bundle: an index that was checked, the manifests, and blobs that are checked while they are read.

    ``origin`` is the tar or the folder, ``index_content`` the index as it is written.
    """

    def __init__(self, members: Members, origin: Path, admit: Optional[Admit] = None) -> None:
        """Read all but the blobs. Raises as ``open_bundle`` does."""
        self.origin = origin
        self._members = members
        self._where = where = str(origin)
        self._read_layout()
        self.index_content = self._small(INDEX_FILE)
        self.index = read_index(self.index_content, f"{where}: {INDEX_FILE}")
        if admit is not None:
            admit(self.index_content)
        self._manifests: set[str] = set()
        self.packages = tuple(self._package(descriptor) for descriptor in self.index.manifests)
        self._refuse_strays()

    def has(self, blob: BlobRef) -> bool:
        """Return whether the bundle holds a blob. One that was made for a board leaves out what is there already."""
        return BLOBS + blob.hex in self._members.sizes

    def path(self, blob: BlobRef) -> Optional[Path]:
        """Return where a blob lies by itself, unverified; None where it is missing, or part of an archive."""
        return self._members.path(BLOBS + blob.hex) if self.has(blob) else None

    def read(self, blob: BlobRef) -> Iterator[bytes]:
        """Yield a blob in pieces; the last one comes only when size and digest were right.

        Raises:
            BadFileError: the blob is missing, cut, or altered.
        """
        name = BLOBS + blob.hex
        where = f"{self._where}: {blob.name}"
        if not self.has(blob):
            raise BadFileError(f"{where}: blob {blob.digest} is missing")
        size = self._members.sizes[name]
        if size != blob.size:
            raise BadFileError(f"{where}: expected {blob.size} bytes, got {size}")
        digest = hashlib.sha256()
        last = b""
        for piece in self._members.pieces(name):
            yield last
            digest.update(piece)
            size -= len(piece)
            last = piece
        if size:
            raise BadFileError(f"{where}: the file ends {size} bytes too early")
        if digest.hexdigest() != blob.hex:
            raise BadFileError(f"{where}: altered: expected {blob.digest}, got sha256:{digest.hexdigest()}")
        yield last

    def _read_layout(self) -> None:
        for name in (LAYOUT_FILE, INDEX_FILE):
            if name not in self._members.sizes:
                raise BadFileError(f"{self._where}: not a bundle: {name} is missing")
        if self._small(LAYOUT_FILE) != LAYOUT_BYTES:
            raise BadFileError(f"{self._where}: {LAYOUT_FILE}: expected {LAYOUT_BYTES.decode()}")

    def _small(self, name: str) -> bytes:
        size = self._members.sizes[name]
        if size > MAX_JSON_BYTES:
            raise BadFileError(f"{self._where}: {name}: expected at most {MAX_JSON_BYTES} bytes, got {size}")
        return b"".join(self._members.pieces(name))

    def _package(self, descriptor: Descriptor) -> Package:
        where = f"{self._where}: manifest {descriptor.digest[:19]}"
        manifest = read_manifest(self._checked(descriptor, where), where)
        self._manifests |= {descriptor.digest, manifest.config.digest}
        where = f"{self._where}: config {manifest.config.digest[:19]}"
        return read_package(manifest, self._checked(manifest.config, where), where)

    def _checked(self, descriptor: Descriptor, where: str) -> bytes:
        try:
            blob = BlobRef("", descriptor.digest, descriptor.size, "config")
        except ValueError as error:
            raise BadFileError(f"{where}: {error}") from error
        if blob.size > MAX_JSON_BYTES:
            raise BadFileError(f"{where}: expected at most {MAX_JSON_BYTES} bytes, got {blob.size}")
        return b"".join(self.read(blob))

    def _refuse_strays(self) -> None:
        if not self._members.closed:
            return
        known = {LAYOUT_FILE, INDEX_FILE} | {BLOBS + digest.split(":")[1] for digest in self._manifests}
        known |= {BLOBS + blob.hex for package in self.packages for blob in package.manifest.blobs}
        strays = sorted(set(self._members.sizes) - known)
        if strays:
            raise BadFileError(f"{self._where}: {strays[0]}: no manifest names it")


@contextlib.contextmanager
def open_bundle(path: Path, admit: Optional[Admit] = None) -> Iterator[Bundle]:
    """Open a bundle, a tar or a folder, and check everything but the blobs' contents.

    Args:
        path: the bundle.
        admit: looks at the index before anything else is believed.

    Raises:
        BadFileError: it is not a bundle, or damaged.
        UnfitError: it needs a newer installer.
        EdgeError: it cannot be read, or what ``admit`` raises.
    """
    with contextlib.ExitStack() as stack:
        try:
            if path.is_dir():
                members: Members = FolderMembers(path, str(path))
            elif path.is_file():
                members = TarMembers(stack.enter_context(path.open("rb")), str(path))
            else:
                raise BadFileError(f"no such bundle: {path}")
            bundle = Bundle(members, path, admit)
        except OSError as error:
            raise refused(error, path, "read") from error
        yield bundle


def read_package(manifest: OciManifest, config: bytes, where: str) -> Package:
    """Return what a manifest and the config that it names say.

    Raises:
        BadFileError: they say different things, or the config is none.
        UnfitError: it needs a newer installer.
    """
    package = Package(manifest.config.digest.split(":")[1], read_config(config, where), config)
    if manifest.layers != tuple(layer_of(blob) for blob in package.manifest.blobs):
        raise BadFileError(f"{where}: its blobs and the manifest's layers differ")
    return package


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
