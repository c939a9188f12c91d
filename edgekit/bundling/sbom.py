"""Writes what a package of a bundle consists of as CycloneDX 1.6 (ECMA-424): equal contents give equal bytes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from device_runtime.contract.manifest import BlobRef, SystemPackage
from device_runtime.contract.oci import canonical
from edgekit.bundling.wheel_facts import WheelFacts

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/edgekit/edgekit")
"""Serial numbers are made of the contents (RFC 9562, version 5), so that equal contents have equal ones."""


@dataclass(frozen=True)
class Part:
    """A wheel of a package and what it says of itself."""

    blob: BlobRef
    facts: WheelFacts


def sbom(
    name: str, version: str, model: BlobRef, runtime: Part, parts: Sequence[Part], system: Sequence[SystemPackage]
) -> bytes:
    """Return the bill of materials of one package.

    Args:
        name: of the application.
        version: of the application.
        model: the model.
        runtime: the device runtime, which is on no index.
        parts: the wheels from an index.
        system: what the board must have.
    """
    application = {"type": "application", "bom-ref": "application", "name": name, "version": version}
    components = [
        {"type": "machine-learning-model", "bom-ref": "model", "name": model.name, "hashes": _hashes(model)},
        _library(runtime, "device-runtime", indexed=False),
        *(_library(part, _purl(part.facts), indexed=True) for part in parts),
        *(_of_system(package) for package in system),
    ]
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": application},
        "components": components,
        "dependencies": [
            {"ref": "application", "dependsOn": sorted(str(component["bom-ref"]) for component in components)}
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, canonical(document).decode())
    return (json.dumps({**document, "serialNumber": f"urn:uuid:{serial}"}, indent=1, sort_keys=True) + "\n").encode()


def _library(part: Part, reference: str, *, indexed: bool) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": part.facts.name,
        "version": part.facts.version,
        "hashes": _hashes(part.blob),
        "properties": [{"name": "edgekit:file", "value": part.blob.name}],
    }
    if indexed:
        component["purl"] = reference
    if part.facts.expression:
        component["licenses"] = [{"expression": part.facts.expression}]
    elif part.facts.licences:
        component["licenses"] = [{"license": {"name": licence}} for licence in part.facts.licences]
    return component


def _of_system(package: SystemPackage) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{quote(package.package)}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.package,
        "purl": purl,
        "properties": [{"name": "edgekit:provided-by", "value": "board"}],
    }


def _purl(facts: WheelFacts) -> str:
    """Return a package URL (ECMA-427); its name is normalised, and ``+`` of a version is escaped."""
    return f"pkg:pypi/{facts.name}@{quote(facts.version, safe='.')}"


def _hashes(blob: BlobRef) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": blob.hex}]
