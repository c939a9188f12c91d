"""Puts together a release that is only to be measured: beside those that are installed, and with what they have."""

from __future__ import annotations

import dataclasses
import errno
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.events import Step
from device_runtime.contract.manifest import BlobRef, BundleManifest, distinct
from device_runtime.contract.status import InstallState
from device_runtime.errors import BadFileError, UnfitError
from device_runtime.install.compat import choose_package
from device_runtime.install.fsops import make_folders, remove_tree
from device_runtime.install.layout import Bundle, Package, open_bundle
from device_runtime.install.release import build_release, read_release
from device_runtime.install.room import Room, room_of
from device_runtime.install.root import TEMPORARY, Root
from device_runtime.install.site import Site
from device_runtime.install.store import Store
from device_runtime.install.trust import admission, require_newer
from device_runtime.install.unpack import unpack_wheel, unpacked_intact

_USED = ("model", "spec", "service", "golden")
"""Roles of the blobs that a release folder names; wheels are unpacked."""


@dataclass(frozen=True)
class Staged:
    """A release that can be measured: its folder, and what it is called."""

    folder: Path
    name: str


@dataclass(frozen=True)
class _Lacking:
    """What of a package the board has not, or not intact."""

    blobs: tuple[BlobRef, ...]
    wheels: tuple[BlobRef, ...]


def stage_release(site: Site, into: Root, state: InstallState) -> Staged:
    """Build a release from what came to ``into``, whose lock and the installer's are held.

    Blobs and unpacked wheels that are installed are referred to, and nothing of them is changed. A package without
    wheels, which is a model alone, takes those of the current release.

    Raises:
        BadFileError: what came is damaged, or not signed as this board wants it.
        UnfitError: this machine cannot run it, has not enough space, or no release whose runtime it could take.
        OlderSequenceError: it is older than what was committed, on a board that trusts signers.
        OSError: the disk refuses.
    """
    with open_bundle(into.incoming, admission(site, "the bundle that came to be measured")) as bundle:
        package = choose_package(bundle.packages)
        require_newer(site, state, package.manifest)
        name = f"{package.manifest.name} {package.manifest.version}"
        if not package.manifest.of_role("wheel"):
            lender = _lender(site, state)
            name = f"{package.manifest.name} with the runtime of {lender.name} {lender.version}"
            blobs = (*package.manifest.blobs, *lender.of_role("wheel"))
            package = dataclasses.replace(package, manifest=dataclasses.replace(package.manifest, blobs=blobs))
        site.events(Step("look for what is there already"))
        lacking = _lacking(site, package)
        room = _room(bundle, lacking)
        if not room.fits(site.root.path):
            raise room.lacking(site.root.path)
        try:
            _build(site, into, bundle, package, lacking)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise room.lacking(site.root.path) from error
    remove_tree(site.fs, into.incoming)
    return Staged(into.release(package.release), name)


def _lender(site: Site, state: InstallState) -> BundleManifest:
    if state.wanted is None:
        raise UnfitError(
            f"{site.root.path}: no release is installed whose runtime could run a model",
            hint="measure a bundle, which brings its own: edgekit bundle",
        )
    return read_release(site.root, state.wanted)


def _lacking(site: Site, package: Package) -> _Lacking:
    """Look at every byte of what would be taken from what is installed."""
    used = [blob for blob in package.manifest.blobs if blob.role in _USED]
    wheels = distinct(package.manifest.of_role("wheel"))
    packed = tuple(wheel for wheel in wheels if unpacked_intact(site.root.wheels / wheel.hex) is not None)
    return _Lacking(tuple(blob for blob in distinct((*used, *packed)) if not site.store.intact(blob)), packed)


def _room(bundle: Bundle, lacking: _Lacking) -> Room:
    return room_of(lacking.blobs, lacking.wheels, sum(blob.size for blob in lacking.blobs if bundle.has(blob)))


def _build(site: Site, into: Root, bundle: Bundle, package: Package, lacking: _Lacking) -> None:
    store = Store(into, site.fs)
    for folder in (into.blobs, into.wheels, into.releases):
        make_folders(site.fs, folder)
    for blob in lacking.blobs:
        source = bundle.path(blob)
        if source is None:
            raise BadFileError(
                f"{blob.name}: blob {blob.digest} neither came nor is it intact on the board",
                hint="what is installed may be damaged: edgekit verify",
            )
        store.adopt(blob, source)
    lacked = {blob.digest for blob in lacking.blobs}
    for blob in distinct(blob for blob in package.manifest.blobs if blob.role in _USED):
        if blob.digest not in lacked:
            site.fs.symlink(f"../../../blobs/sha256/{blob.hex}", into.blobs / blob.hex)
    unpacked = {wheel.digest for wheel in lacking.wheels}
    for wheel in distinct(package.manifest.of_role("wheel")):
        final = into.wheels / wheel.hex
        if wheel.digest not in unpacked:
            site.fs.symlink(f"../../wheels/{wheel.hex}", final)
            continue
        site.events(Step(f"unpack and compile {wheel.name}"))
        source = store.path(wheel.hex) if wheel.digest in lacked else site.store.path(wheel.hex)
        temporary = final.with_name(TEMPORARY + wheel.hex)
        unpack_wheel(site.fs, wheel, source, temporary, final)
        site.fs.rename(temporary, final)
    # Nothing of it is flushed: it is not to outlive the power.
    build_release(site.fs, package, into.release(package.release))
