"""Builds a bundle from a converted model, its ModelSpec, recorded goldens, the device runtime and a board's wheels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.tflite_reader import TfliteInfo, read_tflite
from device_runtime import __version__
from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Events, Step
from device_runtime.contract.manifest import BundleManifest, GoldenSpec, room_for
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.oci import index_bytes, manifest_bytes, signed_bytes
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import UsageError
from device_runtime.files import refused
from edgekit.boards.catalog import Board
from edgekit.bundling.describe import BundleFacts, describe_bundle
from edgekit.bundling.fit import memory_needed, require_memory, require_operators
from edgekit.bundling.golden import golden_contents
from edgekit.bundling.layout import Content, content_of, write_layout
from edgekit.bundling.needs import engine_on
from edgekit.bundling.packages import Plan, Sources, gather, plan_packages
from edgekit.bundling.sbom import Part, sbom
from edgekit.bundling.sign import require_key, sign
from edgekit.bundling.wheel import device_wheel
from edgekit.bundling.wheel_facts import WheelFacts


@dataclass(frozen=True)
class BundleRequest:
    """What to build.

    ``pictures`` are candidates for the goldens' inputs; without any, noise is taken. ``sign`` is the key to sign with,
    if any, and ``sequence`` what a board compares with that of what it has.
    """

    model: Path
    spec: ModelSpec
    name: str
    version: str
    output: Path
    boards: tuple[Board, ...]
    service: ServiceSpec = field(default_factory=ServiceSpec)
    pictures: Sequence[Path] = ()
    sources: Sources = field(default_factory=Sources)
    sign: Path | None = None
    sequence: int = 0


@dataclass(frozen=True)
class _Application:
    """What all packages of a bundle share."""

    contents: tuple[Content, ...]
    golden: GoldenSpec
    runtime: Content
    memory_bytes: int


def build_bundle(request: BundleRequest, events: Events) -> BundleFacts:
    """Build a bundle and write it, whole or not at all; equal requests give equal bytes, but for a signature's.

    Raises:
        UsageError: the name or the version cannot be one, or there is no such key.
        BadFileError: the model is not a TFLite file, or a wheel is not what it should be.
        UnfitError: a board cannot run the model, or has no wheel of what it needs.
        ModelError: the model cannot be run.
        EdgeError: a wheel cannot be downloaded, the key cannot be used, or the disk refuses.
    """
    info = read_tflite(request.model)
    if request.sign is not None:
        require_key(request.sign)
    memory_bytes = _require_fit(request, info)
    plans = plan_packages(request.boards, request.service, request.sources, events)
    gathered = [(plan, gather(plan, events)) for plan in plans]
    application = _application(request, memory_bytes, events)
    contents = [*application.contents, application.runtime]
    manifests: list[bytes] = []
    for plan, wheels in gathered:
        listed, config, manifest = _package(request, application, plan, wheels)
        manifests.append(manifest)
        contents += [*(content for content, _ in wheels), listed]
        contents += [content_of("config", "config.json", config), content_of("manifest", "manifest.json", manifest)]
    index = index_bytes(tuple(manifests))
    if request.sign is not None:
        index = index_bytes(tuple(manifests), sign(signed_bytes(index, str(request.output)), request.sign, events))
    events(Step(f"write {request.output}"))
    write_layout(request.output, index, contents)
    return describe_bundle(request.output)


def _require_fit(request: BundleRequest, info: TfliteInfo) -> int:
    """Check that all boards can run the model; return the memory that the application takes."""
    memory_bytes = memory_needed(info, request.service)
    for board in request.boards:
        engine = engine_on(board, request.service)
        if engine:
            require_operators(board, engine, info, str(request.model))
        require_memory(board, memory_bytes)
    return memory_bytes


def _application(request: BundleRequest, memory_bytes: int, events: Events) -> _Application:
    """Make the blobs that all packages share; each changes on its own."""
    events(Step("record goldens"))
    golden, recorded = golden_contents(request.model, request.spec, request.pictures, events)
    events(Step("pack the device runtime"))
    try:
        contents = [
            content_of("model", f"{request.name}.tflite", request.model),
            content_of("spec", "model.json", dumps(request.spec).encode()),
            content_of("service", "service.json", dumps(request.service).encode()),
        ]
        return _Application((*contents, *recorded), golden, _runtime(), memory_bytes)
    except OSError as error:
        raise refused(error, Path(error.filename or request.model), "read") from error


def _runtime() -> Content:
    wheel = device_wheel()
    return content_of("wheel", wheel.name, wheel.content, unpacked_size=wheel.unpacked_size, files=wheel.files)


def _package(
    request: BundleRequest, application: _Application, plan: Plan, wheels: Sequence[tuple[Content, Part]]
) -> tuple[Content, bytes, bytes]:
    """Return what a package has beside the shared blobs and its wheels: its SBOM, config and manifest."""
    runtime = application.runtime.ref
    facts = WheelFacts(
        "edgekit-device-runtime", __version__, "Apache-2.0", (), "", runtime.files, runtime.unpacked_size
    )
    bill = sbom(
        request.name,
        request.version,
        application.contents[0].ref,
        Part(runtime, facts),
        [part for _, part in wheels],
        plan.compat.system_packages,
    )
    listed = content_of("sbom", "sbom.cdx.json", bill)
    # The device runtime comes first: what is first wins an import.
    contents = [*application.contents, application.runtime, *(content for content, _ in wheels), listed]
    blobs = tuple(content.ref for content in contents)
    compat = replace(
        plan.compat,
        bytes_needed=room_for(blobs, [blob for blob in blobs if blob.role == "wheel"]),
        memory_bytes=application.memory_bytes,
        sequence=request.sequence,
    )
    try:
        config = dumps(BundleManifest(request.name, request.version, blobs, compat, application.golden)).encode()
    except ValueError as error:
        raise UsageError(str(error), hint="see [project] in edgekit.toml, or --name and --version") from error
    return listed, config, manifest_bytes(config, blobs)
