"""Takes a bundle from the host, blob by blob, into a folder from which it is installed; what came once is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
from pathlib import Path
from typing import Optional

from device_runtime.contract.events import Notice
from device_runtime.contract.manifest import BlobRef, distinct
from device_runtime.contract.oci import (
    INDEX_FILE,
    LAYOUT_BYTES,
    LAYOUT_FILE,
    Descriptor,
    OciIndex,
    digest_of,
    read_index,
    read_manifest,
)
from device_runtime.contract.session import Blob, Index
from device_runtime.contract.status import InstallState
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.files import sha256_of
from device_runtime.install.collect import collect
from device_runtime.install.compat import choose_package
from device_runtime.install.footprint import Footprint, discard_stage
from device_runtime.install.fsops import make_folders, remove_if_there, replace_file, write_all
from device_runtime.install.host import SILENCE_S, Host
from device_runtime.install.incoming import arrived, came
from device_runtime.install.layout import MAX_JSON_BYTES, Package, read_package
from device_runtime.install.lock import BusyError, locked, receiving
from device_runtime.install.recover import recover
from device_runtime.install.room import Room, room_of
from device_runtime.install.root import PART, Root
from device_runtime.install.site import Site, uninterrupted
from device_runtime.install.state import read_state
from device_runtime.install.trust import admission, require_newer

_CHUNK_BYTES = 1 << 20
WAIT_S = SILENCE_S + 10.0
"""For as long as the board may believe that a host which is gone is still sending."""


class ResumeMismatchError(EdgeError):
    """A host goes on at another byte than the one where what came ends."""

    code = "resume-mismatch"


@dataclasses.dataclass(frozen=True)
class _Announced:
    """What an index says of the bundle, as far as it came: the sizes of blobs by digest, and the packages."""

    sizes: dict[str, int]
    packages: tuple[Package, ...]
    complete: bool


class Receiver:
    """Receives one bundle. Its lock is held from the index on, until ``close``.

    One that is only to be measured comes into ``Root.bench``, and leaves with ``close``.
    """

    def __init__(self, site: Site, host: Host, wait_s: float = WAIT_S) -> None:
        self._site = site
        self._root = site.root
        self._into = site.root
        self._host = host
        self._wait_s = wait_s
        self._held = contextlib.ExitStack()
        self._index: Optional[OciIndex] = None
        self._announced = _Announced({}, (), complete=False)
        self.footprint: Optional[Footprint] = None

    @property
    def receiving(self) -> bool:
        """Whether the lock is held: other hosts may be waiting."""
        return self._index is not None

    @property
    def throws_away(self) -> bool:
        """Whether what comes is only to be measured."""
        return self.receiving and self._into is not self._root

    @property
    def into(self) -> Root:
        """Where it comes to: below its ``incoming``."""
        return self._into

    def close(self) -> None:
        """Let the next host send. What came to be measured is removed; what cannot be, by the next command."""
        try:
            if self.footprint is not None:
                with uninterrupted(), contextlib.suppress(OSError):
                    discard_stage(self._site.fs, self._root)
                    self.footprint.wipe(self._site.fs)
        finally:
            self._held.close()
            self._index = None

    def index(self, request: Index) -> None:
        """Take the index; the blobs that follow have to be named by it, or by what it names.

        Raises:
            BadFileError: it is damaged, or not signed as this board wants it.
            BusyError: another host is sending.
            UnfitError: nothing of the bundle fits this board, or its disk.
            OSError: the disk refuses.
        """
        where = "the bundle's index"
        _check_digest(request.digest, request.size, where)
        if request.size > MAX_JSON_BYTES:
            raise BadFileError(f"{where}: expected at most {MAX_JSON_BYTES} bytes, got {request.size}")
        content = b"".join(self._host.payload(request.size))
        if digest_of(content) != request.digest:
            raise BadFileError(f"{where}: altered on its way: expected {request.digest}, got {digest_of(content)}")
        index = read_index(content, where)
        admit = admission(self._site, where)
        if admit is not None:
            admit(content)
        if self.receiving and self.throws_away != request.throw_away:
            raise BadFileError(f"{where}: expected one bundle in a conversation, got another")
        footprint = Footprint.of(self._root.path, self._root.incoming_lock)
        self._take_lock()
        if request.throw_away and not self.throws_away:
            self.footprint = footprint
            self._into = Root(self._root.bench)
            discard_stage(self._site.fs, self._root)
        make_folders(self._site.fs, self._into.incoming_blobs)
        replace_file(self._site.fs, self._into.incoming / LAYOUT_FILE, LAYOUT_BYTES)
        replace_file(self._site.fs, self._into.incoming / INDEX_FILE, content)
        self._index = index
        self._learn()

    def blob(self, request: Blob) -> None:
        """Take a blob, or the rest of one.

        Raises:
            ResumeMismatchError: the rest begins elsewhere.
            BadFileError: nothing names it, or its bytes are not what its digest says; then none of them are kept.
            HostGoneError: fewer bytes came; they are kept.
            UnfitError: the bundle does not fit this board, or its disk.
            OSError: the disk refuses.
        """
        ref = self._named(request)
        whole, part = self._into.incoming_blobs / ref.hex, self._into.incoming_blobs / (ref.hex + PART)
        there = self._there(ref, whole, part)
        if request.offset not in (0, there):
            raise ResumeMismatchError(
                f"{ref.digest}: expected it to go on at byte {there}, got byte {request.offset}",
                hint="deploy once more: what is there is asked for again",
            )
        if request.offset == 0:
            # From the beginning: whatever is there is not wanted, or is in doubt.
            remove_if_there(self._site.fs, whole)
            remove_if_there(self._site.fs, part)
        if not whole.exists():
            self._take(ref, part, request.offset)
            self._site.fs.rename(part, whole)
        if not self._announced.complete:
            self._learn()

    def _there(self, ref: BlobRef, whole: Path, part: Path) -> int:
        """Return how many bytes of a blob came; what cannot be of it is removed first, as after a power cut."""
        if whole.exists() and whole.stat().st_size != ref.size:
            self._site.fs.remove(whole)
        if part.exists() and part.stat().st_size > ref.size:
            self._site.fs.remove(part)
        return came(self._into, ref)

    def _take(self, ref: BlobRef, part: Path, offset: int) -> None:
        digest = hashlib.sha256()
        if offset:
            with part.open("rb") as stream:
                while piece := stream.read(_CHUNK_BYTES):
                    digest.update(piece)
        descriptor = self._site.fs.open_append(part)
        try:
            for piece in self._host.payload(ref.size - offset):
                digest.update(piece)
                write_all(self._site.fs, descriptor, piece)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # What runs needs the disk more than this half does.
            self._site.fs.remove(part)
            raise self._room().lacking(self._root.path) from error
        finally:
            os.close(descriptor)
        if digest.hexdigest() != ref.hex:
            self._site.fs.remove(part)
            raise BadFileError(
                f"{ref.digest}: altered on its way: got sha256:{digest.hexdigest()}",
                hint="deploy once more: it comes from the beginning",
            )

    def _named(self, request: Blob) -> BlobRef:
        ref = _check_digest(request.digest, request.size, "the bundle's blob")
        if self._index is None:
            raise BadFileError("expected the bundle's index before its blobs")
        expected = self._announced.sizes.get(request.digest)
        if expected is None:
            raise BadFileError(f"{request.digest}: nothing of the bundle that came before names it")
        if request.size != expected:
            raise BadFileError(f"{request.digest}: expected {expected} bytes, got {request.size}")
        if not 0 <= request.offset <= request.size:
            raise BadFileError(f"{request.digest}: expected an offset from 0 to {request.size}, got {request.offset}")
        return ref

    def _take_lock(self) -> None:
        if self.receiving:
            return
        make_folders(self._site.fs, self._root.path)
        try:
            self._held.enter_context(receiving(self._site.fs, self._root))
        except BusyError:
            self._site.events(Notice("another host is sending to this board; waiting for it"))
            self._held.enter_context(receiving(self._site.fs, self._root, self._wait_s))

    def _learn(self) -> None:
        """Read what came of the manifests and configs; when all of it did, judge whether the bundle fits."""
        sizes: dict[str, int] = {}
        packages = []
        complete = True
        for descriptor in self._index.manifests if self._index else ():
            sizes[descriptor.digest] = descriptor.size
            content = self._small(descriptor)
            if content is None:
                complete = False
                continue
            manifest = read_manifest(content, f"manifest {descriptor.digest[:19]}")
            sizes[manifest.config.digest] = manifest.config.size
            config = self._small(manifest.config)
            if config is None:
                complete = False
                continue
            package = read_package(manifest, config, f"config {manifest.config.digest[:19]}")
            sizes.update((blob.digest, blob.size) for blob in package.manifest.blobs)
            packages.append(package)
        self._announced = _Announced(sizes, tuple(packages), complete)
        if complete:
            self._judge()

    def _small(self, descriptor: Descriptor) -> Optional[bytes]:
        """Return a manifest or a config that came, or None. Raises BadFileError when it says that it is none."""
        ref = _check_digest(descriptor.digest, descriptor.size, "the bundle's index")
        if ref.size > MAX_JSON_BYTES:
            raise BadFileError(f"{ref.digest}: expected at most {MAX_JSON_BYTES} bytes, got {ref.size}")
        path = self._into.incoming_blobs / ref.hex
        if came(self._into, ref) != ref.size or not path.is_file() or sha256_of(path) != ref.hex:
            return None
        return path.read_bytes()

    def _judge(self) -> None:
        """Refuse now what would be refused once all of it came."""
        package = choose_package(self._announced.packages)
        require_newer(self._site, read_state(self._root) or InstallState(), package.manifest)
        if self._room().fits(self._root.path):
            return
        if self.throws_away:
            raise self._room().lacking(self._root.path)  # nothing that was there makes room for it
        self._discard_others()
        # Not waited for: whoever holds it makes room by itself, and must not wait for us.
        with contextlib.suppress(BusyError), locked(self._site.fs, self._root):
            collect(self._site.fs, self._root, recover(self._site))
        if not self._room().fits(self._root.path):
            raise self._room().lacking(self._root.path)

    def _room(self) -> Room:
        """Return what is still to come and to be unpacked. Nothing is read for it: ``apply`` looks closer."""
        if not self._announced.complete:
            return room_of((), ())
        manifest = choose_package(self._announced.packages).manifest
        blobs = tuple(blob for blob in distinct(manifest.blobs) if not self._stored(blob))
        packed = (
            wheel for wheel in distinct(manifest.of_role("wheel")) if not (self._root.wheels / wheel.hex).is_dir()
        )
        return room_of(blobs, packed, sum(min(blob.size, came(self._into, blob)) for blob in blobs))

    def _stored(self, blob: BlobRef) -> bool:
        try:
            return self._site.store.path(blob.hex).stat().st_size == blob.size
        except OSError:
            return False

    def _discard_others(self) -> None:
        """Remove what came for other bundles."""
        named = {digest.split(":")[1] for digest in self._announced.sizes}
        for name in sorted(set(arrived(self._root)) - named):
            for path in (self._root.incoming_blobs / name, self._root.incoming_blobs / (name + PART)):
                remove_if_there(self._site.fs, path)


def _check_digest(digest: str, size: int, where: str) -> BlobRef:
    try:
        return BlobRef("", digest, size, "blob")
    except ValueError as error:
        raise BadFileError(f"{where}: {error}") from error
