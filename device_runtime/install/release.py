"""A release folder: links to blobs, the manifest, and the paths that Python imports from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Optional

from device_runtime.contract.decode import read_json
from device_runtime.contract.manifest import (
    RELEASE_GOLDEN,
    RELEASE_MANIFEST,
    RELEASE_MODEL,
    RELEASE_PATHS,
    RELEASE_SERVICE,
    RELEASE_SPEC,
    BlobRef,
    BundleManifest,
)
from device_runtime.contract.status import InstallResult, Outcome, ReleaseInfo
from device_runtime.errors import EdgeError
from device_runtime.install.fsops import FileSystem, write_file
from device_runtime.install.layout import Package
from device_runtime.install.root import Root
from device_runtime.install.store import Store
from device_runtime.install.unpack import unpacked_intact

_LINKS = {"model": RELEASE_MODEL, "spec": RELEASE_SPEC, "service": RELEASE_SERVICE}


def build_release(fs: FileSystem, package: Package, folder: Path) -> None:
    """Make a release in a new folder beside where it will be. Raises OSError."""
    fs.make_folder(folder)
    write_file(fs, folder / RELEASE_MANIFEST, package.config)
    write_file(fs, folder / RELEASE_PATHS, _paths_text(package.manifest).encode())
    if package.manifest.of_role("golden"):
        fs.make_folder(folder / RELEASE_GOLDEN)
    for name, target in _links(package.manifest).items():
        fs.symlink(target, folder / name)


def read_release(root: Root, release: str) -> BundleManifest:
    """Return the manifest of an installed release.

    Raises:
        BadFileError: the release is damaged.
        EdgeError: it cannot be read.
    """
    return read_json(BundleManifest, root.release(release) / RELEASE_MANIFEST)


def is_whole(root: Root, release: str) -> bool:
    """Return whether a release's folder is there with the manifest that its id promises."""
    path = root.release(release) / RELEASE_MANIFEST
    try:
        return not path.is_symlink() and hashlib.sha256(path.read_bytes()).hexdigest() == release
    except OSError:
        return False


def folder_damage(root: Root, release: str) -> Optional[str]:
    """Return what is wrong with a release's folder itself, or None."""
    folder = root.release(release)
    if not is_whole(root, release):
        return f"release {release[:12]}: {RELEASE_MANIFEST} is missing or altered"
    manifest = read_release(root, release)
    for name, target in _links(manifest).items():
        try:
            actual = str((folder / name).readlink())
        except OSError:
            actual = ""
        if actual != target:
            return f"release {release[:12]}: {name} is missing or altered"
    try:
        paths = (folder / RELEASE_PATHS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        paths = ""
    return None if paths == _paths_text(manifest) else f"release {release[:12]}: {RELEASE_PATHS} is missing or altered"


def damage(root: Root, store: Store, release: str) -> list[str]:
    """Return everything that is wrong with a release: its folder, its blobs, its unpacked wheels; each byte is read."""
    broken = folder_damage(root, release)
    found = [broken] if broken else []
    if not is_whole(root, release):
        return found
    manifest = read_release(root, release)
    found += [f"blob {blob.name} is missing or altered" for blob in manifest.blobs if not store.intact(blob)]
    wheels = (unpacked_intact(root.wheels / wheel.hex) for wheel in manifest.of_role("wheel"))
    return found + [f"wheel {reason}" for reason in wheels if reason]


def release_info(root: Root, release: Optional[str], role: str) -> Optional[ReleaseInfo]:
    """Return a release as it is listed; one that is damaged has no name."""
    if release is None:
        return None
    try:
        manifest = read_release(root, release)
    except EdgeError:
        return ReleaseInfo(release, "(damaged)", "", role)
    return ReleaseInfo(release, manifest.name, manifest.version, role)


def result_of(
    root: Root, outcome: Outcome, current: Optional[str], previous: Optional[str], written_bytes: int = 0
) -> InstallResult:
    """Return what a command did, with the releases of these ids."""
    return InstallResult(
        outcome, release_info(root, current, "current"), release_info(root, previous, "previous"), written_bytes
    )


def import_paths(folder: Path) -> list[str]:
    """Return the folders of a release's ``paths.txt``, absolute, in order."""
    lines = (folder / RELEASE_PATHS).read_text(encoding="utf-8").splitlines()
    real = folder.resolve()
    return [os.path.normpath(real / line) for line in lines if line]


def _links(manifest: BundleManifest) -> dict[str, str]:
    """Return the links of a release folder: name inside it -> target, relative so that the root can be moved."""
    links = {name: _blob_target(manifest.of_role(role)[0], "") for role, name in _LINKS.items()}
    for blob in manifest.of_role("golden"):
        links[f"{RELEASE_GOLDEN}/{blob.name}"] = _blob_target(blob, "../")
    return links


def _blob_target(blob: BlobRef, up: str) -> str:
    return f"{up}../../blobs/sha256/{blob.hex}"


def _paths_text(manifest: BundleManifest) -> str:
    """One folder per line, relative to the release folder; the first one wins an import."""
    return "".join(f"../../wheels/{wheel.hex}\n" for wheel in manifest.of_role("wheel"))
