"""An installed release's folder, as the installer lays it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.decode import read_json
from device_runtime.contract.manifest import (
    RELEASE_GOLDEN,
    RELEASE_MANIFEST,
    RELEASE_MODEL,
    RELEASE_SERVICE,
    RELEASE_SPEC,
    BundleManifest,
)
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import BadFileError


@dataclass(frozen=True)
class Release:
    """What is in ``releases/<digest>/``."""

    folder: Path
    manifest: BundleManifest
    spec: ModelSpec
    service: ServiceSpec

    @property
    def model(self) -> Path:
        """The ``.tflite`` file."""
        return self.folder / RELEASE_MODEL

    @property
    def name(self) -> str:
        """Name and version, for people."""
        return f"{self.manifest.name} {self.manifest.version}"

    @property
    def data(self) -> Path:
        """Where the application keeps what it makes: outside the releases, so that it outlives them."""
        return self.folder.parent.parent / "data"

    def golden_input(self, sample: int) -> Path:
        """The prepared input of golden ``sample``: a ``.npy`` file."""
        return self.folder / RELEASE_GOLDEN / f"input-{sample}.npy"

    def golden_output(self, sample: int, output: int) -> Path:
        """The recorded output number ``output`` of golden ``sample``: a ``.npy`` file."""
        return self.folder / RELEASE_GOLDEN / f"output-{sample}-{output}.npy"


def read_release(folder: Path) -> Release:
    """Read an installed release.

    What a link like ``current`` names now is what it stays: a model that is loaded later comes from the same release.

    Raises:
        BadFileError: it is not a release, or damaged.
    """
    if not (folder / RELEASE_MANIFEST).is_file():
        raise BadFileError(f"{folder}: no installed release: {RELEASE_MANIFEST} is missing")
    folder = folder.resolve()
    return Release(
        folder,
        read_json(BundleManifest, folder / RELEASE_MANIFEST),
        read_json(ModelSpec, folder / RELEASE_SPEC),
        read_json(ServiceSpec, folder / RELEASE_SERVICE),
    )
