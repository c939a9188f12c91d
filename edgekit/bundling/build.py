"""Builds a bundle from a converted model, its ModelSpec, recorded goldens and the device runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from converters.tflite_reader import read_tflite
from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Events, Step
from device_runtime.contract.manifest import (
    BundleManifest,
    Compat,
    room_for,
)
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.oci import index_bytes, manifest_bytes
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import UsageError
from device_runtime.files import refused
from edgekit.boards.catalog import Board
from edgekit.bundling.describe import BundleFacts, describe_bundle
from edgekit.bundling.golden import golden_contents
from edgekit.bundling.layout import Content, content_of, write_layout
from edgekit.bundling.wheel import device_wheel


@dataclass(frozen=True)
class BundleRequest:
    """What to build. ``pictures`` are candidates for the goldens' inputs; without any, noise is taken."""

    model: Path
    spec: ModelSpec
    name: str
    version: str
    output: Path
    boards: tuple[Board, ...]
    service: ServiceSpec = field(default_factory=ServiceSpec)
    pictures: Sequence[Path] = ()


def build_bundle(request: BundleRequest, events: Events) -> BundleFacts:
    """Build a bundle and write it, whole or not at all; equal requests give equal bytes.

    Raises:
        UsageError: the name or the version cannot be one.
        BadFileError: the model is not a TFLite file.
        ModelError: the model cannot be run.
        EdgeError: the disk refuses.
    """
    read_tflite(request.model)
    events(Step("record goldens"))
    golden, recorded = golden_contents(request.model, request.spec, request.pictures, events)
    events(Step("pack the device runtime"))
    try:
        contents = [*_application(request), *recorded, _runtime()]
    except OSError as error:
        raise refused(error, Path(error.filename or request.model), "read") from error
    blobs = tuple(content.ref for content in contents)
    room = room_for(blobs, [blob for blob in blobs if blob.role == "wheel"])
    extra: list[Content] = []
    manifests = []
    for compat in sorted({_compat(board, room) for board in request.boards}, key=lambda compat: compat.machine):
        try:
            config = dumps(BundleManifest(request.name, request.version, blobs, compat, golden)).encode()
        except ValueError as error:
            raise UsageError(str(error), hint="see [project] in edgekit.toml, or --name and --version") from error
        manifest = manifest_bytes(config, blobs)
        manifests.append(manifest)
        extra += [content_of("config", "config.json", config), content_of("manifest", "manifest.json", manifest)]
    events(Step(f"write {request.output}"))
    write_layout(request.output, index_bytes(tuple(manifests)), [*contents, *extra])
    return describe_bundle(request.output)


def _application(request: BundleRequest) -> list[Content]:
    """The blobs that make the application what it is; each changes on its own."""
    return [
        content_of("model", f"{request.name}.tflite", request.model),
        content_of("spec", "model.json", dumps(request.spec).encode()),
        content_of("service", "service.json", dumps(request.service).encode()),
    ]


def _runtime() -> Content:
    wheel = device_wheel()
    return content_of("wheel", wheel.name, wheel.content, unpacked_size=wheel.unpacked_size, files=wheel.files)


def _compat(board: Board, room: int) -> Compat:
    return Compat(board.machine, board.python, board.glibc, bytes_needed=room)
