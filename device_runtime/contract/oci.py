"""A bundle's OCI image layout (image-spec 1.1) as data: descriptors, manifests, the index, and their one spelling."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Optional

from device_runtime.contract.decode import decode, encode
from device_runtime.contract.manifest import (
    ARTIFACT_TYPE,
    CONFIG_MEDIA_TYPE,
    INDEX_MEDIA_TYPE,
    MANIFEST_MEDIA_TYPE,
    ROLES,
    TITLE_ANNOTATION,
    BlobRef,
)
from device_runtime.errors import BadFileError

LAYOUT_FILE = "oci-layout"
LAYOUT_BYTES = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_FILE = "index.json"
BLOBS = "blobs/sha256/"
CHECKSUM_ANNOTATION = "dev.edgekit.index.checksum"
"""SHA-256 of the index without this annotation: no digest elsewhere covers the index, so it carries its own."""
SIGNATURE_ANNOTATION = "dev.edgekit.index.signature"
"""An armoured SSHSIG (OpenSSH's PROTOCOL.sshsig) of ``signed_bytes``, where somebody signed the bundle."""
SIGNATURE_NAMESPACE = "edgekit-bundle"
"""What signatures of bundles are for: one that was made for something else does not count."""

_UNKNOWN_LAYER = "application/octet-stream"


@dataclass(frozen=True)
class Descriptor:
    """A reference to a blob, in OCI's spelling."""

    mediaType: str  # noqa: N815 - OCI's spelling
    digest: str
    size: int
    annotations: dict[str, str] = field(default_factory=dict)
    artifactType: Optional[str] = None  # noqa: N815 - OCI's spelling


@dataclass(frozen=True)
class OciManifest:
    """The manifest of one platform: its config is our BundleManifest, its layers are the blobs of that."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifactType: str = ARTIFACT_TYPE  # noqa: N815 - OCI's spelling
    mediaType: str = MANIFEST_MEDIA_TYPE  # noqa: N815 - OCI's spelling
    schemaVersion: int = 2  # noqa: N815 - OCI's spelling


@dataclass(frozen=True)
class OciIndex:
    """The index: one manifest per platform."""

    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str] = field(default_factory=dict)
    mediaType: str = INDEX_MEDIA_TYPE  # noqa: N815 - OCI's spelling
    schemaVersion: int = 2  # noqa: N815 - OCI's spelling


def canonical(value: object) -> bytes:
    """Return the one spelling of a JSON value: sorted keys, no spaces, ASCII; empty optional keys are left out."""
    return json.dumps(_lean(encode(value)), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest_of(content: bytes) -> str:
    """Return ``sha256:<64 hex>`` of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer_of(blob: BlobRef) -> Descriptor:
    """Return a blob as a layer of an OCI manifest."""
    return Descriptor(ROLES.get(blob.role, _UNKNOWN_LAYER), blob.digest, blob.size, {TITLE_ANNOTATION: blob.name})


def manifest_bytes(config: bytes, blobs: tuple[BlobRef, ...]) -> bytes:
    """Return the OCI manifest of a config blob and the blobs that it names."""
    descriptor = Descriptor(CONFIG_MEDIA_TYPE, digest_of(config), len(config))
    return canonical(OciManifest(descriptor, tuple(layer_of(blob) for blob in blobs)))


def index_bytes(manifests: tuple[bytes, ...], signature: str = "") -> bytes:
    """Return the index of some OCI manifests, with its checksum, and with the signature of ``signed_bytes`` if any."""
    descriptors = tuple(
        Descriptor(MANIFEST_MEDIA_TYPE, digest_of(content), len(content), artifactType=ARTIFACT_TYPE)
        for content in manifests
    )
    annotations = {SIGNATURE_ANNOTATION: signature} if signature else {}
    checksum = digest_of(canonical(OciIndex(descriptors, annotations)))
    return canonical(OciIndex(descriptors, {**annotations, CHECKSUM_ANNOTATION: checksum}))


def signed_bytes(content: bytes, where: str) -> bytes:
    """Return what a signature of an index signs: the index without its signature and its checksum.

    Raises:
        BadFileError: ``content`` is no index.
    """
    data = _parse(content, where)
    annotations = data.get("annotations")
    if not isinstance(annotations, dict):
        raise BadFileError(f"{where}: altered: expected its checksum among its annotations")
    unsigned = {
        key: value for key, value in annotations.items() if key not in (SIGNATURE_ANNOTATION, CHECKSUM_ANNOTATION)
    }
    return canonical({**data, "annotations": unsigned})


def read_index(content: bytes, where: str) -> OciIndex:
    """Decode and check an index.

    Raises:
        BadFileError: it is not what a writer of this format wrote, to the byte.
    """
    data = _parse(content, where)
    annotations = data.get("annotations")
    if not isinstance(annotations, dict):
        raise BadFileError(f"{where}: altered: expected its checksum among its annotations")
    claimed = annotations.pop(CHECKSUM_ANNOTATION, None)
    actual = digest_of(canonical(data))
    if claimed != actual:
        raise BadFileError(f"{where}: altered: expected checksum {claimed}, got {actual}")
    # The checksum covers the meaning; this covers the spelling, so that no flipped byte passes.
    if content != canonical({**data, "annotations": {**annotations, CHECKSUM_ANNOTATION: claimed}}):
        raise BadFileError(f"{where}: altered: not the canonical spelling")
    index = decode(OciIndex, data, where)
    if not index.manifests:
        raise BadFileError(f"{where}: expected one manifest or more, got none")
    return index


def read_manifest(content: bytes, where: str) -> OciManifest:
    """Decode an OCI manifest. Raises BadFileError when it is none of a bundle."""
    manifest = decode(OciManifest, _parse(content, where), where)
    if manifest.artifactType != ARTIFACT_TYPE or manifest.config.mediaType != CONFIG_MEDIA_TYPE:
        raise BadFileError(
            f"{where}: expected an artifact of type {ARTIFACT_TYPE}, got {manifest.artifactType}",
            hint="update edgekit, if a newer one wrote it",
        )
    return manifest


def _parse(content: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFileError(f"{where}: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadFileError(f"{where}: expected a table, got {type(data).__name__}")
    return data


def _lean(value: Any) -> Any:
    if isinstance(value, dict):
        lean = {key: _lean(item) for key, item in value.items()}
        return {key: item for key, item in lean.items() if item not in (None, {})}
    if isinstance(value, list):
        return [_lean(item) for item in value]
    return value
