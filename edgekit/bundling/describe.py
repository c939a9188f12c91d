"""What is in a bundle, without reading every byte of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.manifest import BlobRef, Compat, GoldenSpec
from device_runtime.contract.oci import SIGNATURE_ANNOTATION
from device_runtime.files import refused
from device_runtime.install.compat import describe as describe_compat
from device_runtime.install.layout import Package, open_bundle


@dataclass(frozen=True)
class PackageFacts:
    """What a bundle has for one platform; ``release`` is the id that it gets on a board."""

    release: str
    platform: str
    compat: Compat
    golden: GoldenSpec
    blobs: tuple[BlobRef, ...]


@dataclass(frozen=True)
class BundleFacts:
    """A bundle: the file, its size in bytes, its name and version, and what it has for each platform.

    ``signed`` tells that it has a signature, not that it is a good one; ``signer`` is who signed it, where that was
    checked.
    """

    path: str
    size: int
    name: str
    version: str
    packages: tuple[PackageFacts, ...]
    signed: bool = False
    signer: str = ""


def describe_bundle(path: Path) -> BundleFacts:
    """Return what is in a bundle. Its frame, index and manifests are checked; the blobs are not read.

    Raises:
        BadFileError: it is not a bundle, or damaged.
        UnfitError: it needs a newer edgekit.
        EdgeError: it cannot be read.
    """
    with open_bundle(path) as bundle:
        packages = tuple(_package(package) for package in bundle.packages)
        named = bundle.packages[0].manifest
        signed = SIGNATURE_ANNOTATION in bundle.index.annotations
    try:
        size = path.stat().st_size
    except OSError as error:
        raise refused(error, path, "read") from error
    return BundleFacts(str(path), size, named.name, named.version, packages, signed)


def label_of(blob: BlobRef) -> str:
    """Return what a blob is called for people: of a wheel (PEP 427) its package and version, else its file's name."""
    if blob.role != "wheel":
        return blob.name
    name, _, rest = blob.name.partition("-")
    return f"{name.replace('_', '-')} {rest.partition('-')[0]}"


def _package(package: Package) -> PackageFacts:
    manifest = package.manifest
    return PackageFacts(
        package.release, describe_compat(manifest.compat), manifest.compat, manifest.golden, manifest.blobs
    )
