"""Bundles for the virtual board: a small real model with the real runtime and its aarch64 wheels, well or ill."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np

import device_runtime
from device_runtime.contract.decode import dumps
from device_runtime.contract.events import silent
from device_runtime.contract.manifest import BundleManifest
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.oci import index_bytes, manifest_bytes
from device_runtime.contract.service import HealthSpec, ServiceSpec
from device_runtime.install.layout import open_bundle
from edgekit.boards.catalog import find_boards
from edgekit.bundling.build import BundleRequest, build_bundle
from edgekit.bundling.layout import content_of, write_layout
from edgekit.bundling.wheel import package_wheel
from tests.support.tflite import brightness_model, constant_model

KINDS = {"bookworm": "pi4-bookworm", "trixie": "pi4-trixie"}

# Emulated: what takes a Raspberry Pi a second takes ten here.
HEALTH = HealthSpec(start_s=240, watch_s=5, watchdog_s=60)
SERVICE = ServiceSpec(source="synthetic:pattern?fps=2&live&size=64x64", workers=1, health=HEALTH)

# Each is put at the end of the runtime's engine, so that the release's own check passes and its service fails.
_IN_SERVICE = """

import os as _os
import time as _time
_invoke, _count = TfliteEngine.invoke, [0]


def _ill(self):
    _count[0] += 1
    if _os.environ.get("EDGEKIT_PULSE_FILE") and _count[0] > {after}:
        {does}
    _invoke(self)


TfliteEngine.invoke = _ill
"""


def ill(does: str, after: int) -> str:
    """Return what makes the engine do a line of Python in place of its ``after`` + 1st inference, as a service."""
    return _IN_SERVICE.format(does=does, after=after)


class Shelf:
    """Makes bundles in a folder. All are of one application, ``bright``, for one kind of board."""

    def __init__(self, folder: Path, suite: str) -> None:
        self._folder = folder
        self._board = find_boards((KINDS[suite],))

    def well(self, version: str, *, bias: float = 0.25, **options) -> Path:
        """A release that works; another ``bias`` is another model; ``options`` as ``of`` takes them."""
        model = self._folder / f"bright-{version}.tflite"
        spec = brightness_model(model, bias=bias)
        return self.of(model, spec, version, **options)

    def padded(self, version: str, size: int) -> Path:
        """A release that works, whose model has some bytes of noise behind it that no two versions share."""
        model = self._folder / f"bright-{version}.tflite"
        spec = brightness_model(model)
        noise = np.random.default_rng(int(version.replace(".", ""))).bytes(size)
        model.write_bytes(model.read_bytes() + noise)
        return self.of(model, spec, version)

    def of(self, model: Path, spec: ModelSpec, version: str, *, service: ServiceSpec = SERVICE, **more) -> Path:
        """A release of any model; ``more`` as a ``BundleRequest`` takes it."""
        output = self._folder / f"bright-{version}.edgekit"
        build_bundle(BundleRequest(model, spec, "bright", version, output, self._board, service, **more), silent)
        return output

    def with_runtime(self, bundle: Path, version: str, appended: str, module: str = "engine/litert.py") -> Path:
        """A release whose runtime has some lines more at the end of one module."""
        package = self._folder / f"runtime-{version}" / "device_runtime"
        shutil.copytree(
            Path(device_runtime.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
        changed = package / module
        changed.write_text(changed.read_text() + appended)
        wheel = package_wheel(package, version)
        return self._changed(bundle, version, {"edgekit_device_runtime": (wheel.name, wheel.content, wheel)})

    def with_nan(self, bundle: Path, version: str) -> Path:
        """A release whose model answers NaN, where its goldens have numbers."""
        model = self._folder / f"nan-{version}.tflite"
        constant_model(model, [("logits", np.full((1, 4), np.nan, np.float32), 0.0, 0)], (8, 8), "float32")
        return self._changed(bundle, version, {"bright.tflite": ("bright.tflite", model.read_bytes(), None)})

    def with_golden(self, bundle: Path, version: str) -> Path:
        """A release whose goldens are those of another model."""
        answer = self._folder / f"golden-{version}.npy"
        np.save(answer, np.array([[9, 0, 0, -9]], np.float32))
        return self._changed(bundle, version, {"output-0-0.npy": ("output-0-0.npy", answer.read_bytes(), None)})

    def _changed(self, bundle: Path, version: str, replaced) -> Path:
        output = self._folder / f"bright-{version}.edgekit"
        with open_bundle(bundle) as opened:
            manifest = opened.packages[0].manifest
            contents = []
            for blob in manifest.blobs:
                new = next((value for start, value in replaced.items() if blob.name.startswith(start)), None)
                name, source, wheel = new or (blob.name, b"".join(opened.read(blob)), blob)
                sizes = {"unpacked_size": wheel.unpacked_size, "files": wheel.files} if wheel else {}
                contents.append(content_of(blob.role, name, source, **sizes))
        blobs = tuple(content.ref for content in contents)
        config = dumps(
            BundleManifest("bright", version, blobs, dataclasses.replace(manifest.compat), manifest.golden)
        ).encode()
        manifest_of = manifest_bytes(config, blobs)
        extra = [content_of("config", "config", config), content_of("manifest", "manifest", manifest_of)]
        write_layout(output, index_bytes((manifest_of,)), [*contents, *extra])
        return output
