"""What a bundle holds and needs, and how an installed release is laid out; the formats are in docs/reference."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MANIFEST_SCHEMA = 1
INSTALLER_VERSION = 1
"""What this installer understands. A bundle whose ``compat.installer`` is higher is refused."""

ANY = "any"
_ROOM_BYTES = 1 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}")
_SYSTEM_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,63}")  # Debian Policy 5.6.1
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")

# OCI image-spec 1.1: an artifact is an image manifest with an artifactType.
ARTIFACT_TYPE = "application/vnd.edgekit.bundle.v1"
MANIFEST_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_MEDIA_TYPE = "application/vnd.edgekit.bundle.config.v1+json"
TITLE_ANNOTATION = "org.opencontainers.image.title"

ROLES = {
    "model": "application/vnd.edgekit.model.v1.tflite",
    "spec": "application/vnd.edgekit.modelspec.v1+json",
    "golden": "application/vnd.edgekit.golden.v1.npy",
    "service": "application/vnd.edgekit.service.v1+json",
    "wheel": "application/vnd.edgekit.wheel.v1+zip",
    "sbom": "application/vnd.cyclonedx+json",
}
"""What a blob is for, and its media type. A reader ignores roles that it does not know."""

RELEASE_MODEL = "model.tflite"
RELEASE_SPEC = "model.json"
RELEASE_SERVICE = "service.json"
RELEASE_MANIFEST = "manifest.json"
RELEASE_PATHS = "paths.txt"
RELEASE_GOLDEN = "golden"
"""Names inside ``releases/<digest>/``. ``golden/`` has ``input-K.npy`` and ``output-K-J.npy``: sample K, output J.

``paths.txt`` has one folder per line, to be joined into PYTHONPATH.
"""


@dataclass(frozen=True)
class BlobRef:
    """One blob of a bundle: what it is for, its digest (``sha256:<64 hex>``), size in bytes and file name.

    A wheel also says how many ``files`` it unpacks to and their ``unpacked_size`` in bytes: an installer stops at the
    first byte beyond.
    """

    role: str
    digest: str
    size: int
    name: str
    unpacked_size: int = 0
    files: int = 0

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ValueError(f"digest of {self.name!r}: expected sha256:<64 hex digits>, got {self.digest!r}")
        for label, count in (("size", self.size), ("unpacked_size", self.unpacked_size), ("files", self.files)):
            if count < 0:
                raise ValueError(f"{label} of {self.name!r}: expected 0 or more, got {count}")
        if not self.name or "/" in self.name or self.name in (".", "..") or "\0" in self.name:
            raise ValueError(f"name: expected a plain file name, got {self.name!r}")

    @property
    def hex(self) -> str:
        """The digest's 64 hex digits, which are the blob's file name in a store."""
        return self.digest.split(":", 1)[1]


@dataclass(frozen=True)
class SystemPackage:
    """What a board must have already: a ``module`` to import, and the ``package`` of its system that brings it."""

    module: str
    package: str

    def __post_init__(self) -> None:
        if not _MODULE.fullmatch(self.module):
            raise ValueError(f"module: expected the name of a module, got {self.module!r}")
        if not _SYSTEM_PACKAGE.fullmatch(self.package):
            raise ValueError(f"package: expected the name of a Debian package, got {self.package!r}")


@dataclass(frozen=True)
class Compat:
    """What a board must be. ``any`` fits all; ``bytes_needed`` is the free space that a first installation takes.

    ``memory_bytes`` is what the application takes when it runs (0: not known). ``system_packages`` are not in the
    bundle, and the application cannot run without them. ``sequence`` grows with each bundle of a product, so that a
    board can refuse to go back unasked.
    """

    machine: str = ANY
    python: str = ANY
    glibc: str = ""
    bytes_needed: int = 0
    installer: int = 1
    sequence: int = 0
    memory_bytes: int = 0
    system_packages: tuple[SystemPackage, ...] = ()


@dataclass(frozen=True)
class GoldenSpec:
    """How far a board's outputs may be from the host's, for ``count`` recorded samples.

    A quantised output may differ by ``tolerance_steps`` and must have the same best value (measured: int8 outputs of
    x86-64 and arm64 differed by up to 3 steps on one model of three); a float output must reach ``min_cosine``. Of a
    segmentation, ``min_same_cells`` of the class map must be the same, whatever its outputs are: between two classes
    that are equally likely one step decides (measured: two engines agreed on 95–100% of the cells of photos).
    """

    count: int = 0
    tolerance_steps: int = 4
    min_cosine: float = 0.999
    min_same_cells: float = 0.9


@dataclass(frozen=True)
class BundleManifest:
    """The config blob of a bundle, for one platform."""

    name: str
    version: str
    blobs: tuple[BlobRef, ...]
    compat: Compat = field(default_factory=Compat)
    golden: GoldenSpec = field(default_factory=GoldenSpec)
    schema: int = MANIFEST_SCHEMA

    def __post_init__(self) -> None:
        if self.schema > MANIFEST_SCHEMA:
            raise ValueError(f"schema: this reader knows up to {MANIFEST_SCHEMA}, got {self.schema}; update edgekit")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: expected a-z, 0-9, '.', '_', '-', at most 64, got {self.name!r}")
        if not _VERSION.fullmatch(self.version):
            raise ValueError(f"version: expected letters, digits, '.', '+', '_', '-', at most 64, got {self.version!r}")
        for role in ("model", "spec", "service"):
            count = len(self.of_role(role))
            if count != 1:
                raise ValueError(f"blobs: expected one with role {role!r}, got {count}")

    def of_role(self, role: str) -> tuple[BlobRef, ...]:
        """Return the blobs that are for ``role``, in the manifest's order."""
        return tuple(blob for blob in self.blobs if blob.role == role)


def distinct(blobs: Iterable[BlobRef]) -> tuple[BlobRef, ...]:
    """Return one blob of each digest: equal contents under several names are stored and sent once."""
    return tuple({blob.digest: blob for blob in blobs}.values())


def room_for(blobs: Iterable[BlobRef], wheels: Iterable[BlobRef]) -> int:
    """Return the free bytes that writing some blobs and unpacking some wheels takes.

    Compiled files come to about the size of their sources, and each file fills up its last 4 KiB block, twice with the
    compiled one; the rest is room for the release folder, the state and the journal.
    """
    unpacking = sum(2 * wheel.unpacked_size + 2 * 4096 * wheel.files for wheel in wheels)
    return sum(blob.size for blob in blobs) + unpacking + _ROOM_BYTES
