"""Measures on a board: with the harness of the release that is installed there, or of one that leaves no trace."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.bench import BenchReport
from device_runtime.contract.decode import dumps, loads
from device_runtime.contract.events import Events, Step, silent
from device_runtime.contract.manifest import BundleManifest
from device_runtime.contract.model import ModelSpec
from device_runtime.contract.oci import index_bytes, manifest_bytes
from device_runtime.contract.service import ServiceSpec
from device_runtime.contract.session import Bench
from device_runtime.install.layout import open_bundle
from device_runtime.install.lock import BusyError
from edgekit.boards.channel import Stopper
from edgekit.boards.link import WAIT_S, Link, open_link
from edgekit.boards.ssh import SshTarget
from edgekit.boards.target import LocalTarget
from edgekit.boards.way import way_to
from edgekit.bundling.describe import BundleFacts, describe_bundle
from edgekit.bundling.layout import content_of, write_layout
from edgekit.deploying.deploy import send_bundle
from edgekit.deploying.plan import Action, Upload, Wishes, plan_deploy

GO_ON = "boards end their measurements, and what was stopped for them runs again"
"""For ``for_each``: what becomes of boards on Ctrl-C."""

_LEAST_LIMIT_S = 3600.0
_LIMIT_FACTOR = 3.0
"""A warm-up, a board that is slower than was thought: what takes longer hangs."""
_VERSION = "0"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class RemoteCall:
    """What to measure on a board.

    ``bundle`` is measured without being installed; None: the release that is current there. ``options`` are words for
    the harness that the release brings (``python -m device_runtime bench --help``), but for those that say which model,
    and ``--json``. Only what the user asked for belongs in them: an older runtime refuses what it does not know. Paths
    in them are the board's. ``exclusive`` stops the service meanwhile. ``expected_s`` is how long it will take, for the
    progress; after ``limit_s`` (None: an hour, or three times as long as expected) the board ends it. ``scope`` is one
    of ``SCOPE_WISHES``; ``ask`` lets ssh ask the user.
    """

    bundle: BundleFacts | None = None
    options: tuple[str, ...] = ()
    exclusive: bool = False
    expected_s: float = 0.0
    limit_s: float | None = None
    scope: str = "auto"
    ask: bool = False


def measure_on(
    place: LocalTarget | SshTarget, call: RemoteCall, events: Events = silent, stopper: Stopper | None = None
) -> BenchReport:
    """Measure on a board, and return its report, with ``target``, ``release`` and ``beside`` set.

    However it ends, also when this process is killed, the board is as it was before: no release, no blob, no link of it
    is another one, and a service that was stopped runs again.

    The verb passes: ``find_places(targets, project)`` for the places; ``bundle`` as ``describe_bundle(path)`` of a
    bundle, or of what ``model_as_bundle`` makes of a ``.tflite`` file, or None where the user names neither; as
    ``options`` the words ``--source``, ``--duration``, ``--threads``, … that were given on the command line; for the
    rest see ``RemoteCall``. For several boards::

        for_each(places, lambda place, events, stopper: measure_on(place, call, events, stopper),
                 events, parallel=1, stopped=remote.GO_ON)

    Args:
        place: the board, or a folder.
        call: what to measure.
        events: hears the steps of the board, and of the harness.
        stopper: lets another thread break it off.

    Raises:
        BusyError: another installer is at work there, or a release is on trial.
        UnfitError: the bundle does not fit the board, or its disk; or the release's runtime is too old for an option.
        UnreachableError: the board does not answer, or the connection was lost.
        EdgeError: what the harness said, or the board's installer.
    """
    events(Step("ask the board what it has"))
    with open_link(way_to(place, call.scope, ask=call.ask), stopper, events) as link:
        uploads = _plan(link, call)
        pack = link.installer
        if pack is not None and pack.digest != link.status.installer_digest:
            # Only this host's is known to measure. It runs from memory, and the board keeps its own.
            events(Step("send the installer"))
            link.renew_installer()
            uploads = _plan(link, call)
        if call.bundle is not None and uploads is not None:
            with open_bundle(Path(call.bundle.path)) as opened:
                send_bundle(link, opened, uploads, events, throw_away=True)
        limit_s = max(_LEAST_LIMIT_S, _LIMIT_FACTOR * call.expected_s) if call.limit_s is None else call.limit_s
        request = Bench(call.options, uploads is not None, call.exclusive, WAIT_S, call.expected_s, limit_s)
        result = link.measure(request, events)
    report = loads(BenchReport, result.report, f"{place}: the harness's report")
    return dataclasses.replace(report, target=str(place), release=result.release, beside=result.beside)


@contextlib.contextmanager
def model_as_bundle(model: Path, spec: ModelSpec, service: ServiceSpec | None = None) -> Iterator[BundleFacts]:
    """Yield a bundle of a model alone: on a board it is measured with the runtime of the release that is current there.

    Args:
        model: the ``.tflite`` file.
        spec: what describes it.
        service: engine, threads and source that hold where the call's options say nothing; by default a made-up source.

    Raises:
        OSError: the model cannot be read.
    """
    name = (_NOT_IN_NAMES.sub("-", spec.name.lower()).strip("-._") or "model")[:64]
    service = service or ServiceSpec(source="synthetic:pattern")
    contents = [
        content_of("model", "model.tflite", model),
        content_of("spec", "model.json", dumps(spec).encode()),
        content_of("service", "service.json", dumps(service).encode()),
    ]
    blobs = tuple(content.ref for content in contents)
    config = dumps(BundleManifest(name, _VERSION, blobs)).encode()
    manifest = manifest_bytes(config, blobs)
    contents += [content_of("config", "config", config), content_of("manifest", "manifest", manifest)]
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder, f"{name}.edgekit")
        write_layout(path, index_bytes((manifest,)), contents)
        yield describe_bundle(path)


def _plan(link: Link, call: RemoteCall) -> tuple[Upload, ...] | None:
    """Return what has to be sent; None: the current release is what is to be measured. Raises as ``measure_on``."""
    status = link.status
    if status.trial is not None:
        raise BusyError(
            f"{link.name}: a release is on trial; nothing is measured until that is decided",
            hint=f"wait until it has finished, and try again; see: edgekit status {link.name}",
        )
    if call.bundle is None:
        return None
    plan = plan_deploy(status, call.bundle, Wishes(retry=True))
    if plan.action is Action.NOTHING:
        return None
    # From the beginning: what came of a deployment that was cut is that one's. A bill of materials runs nothing.
    return tuple(Upload(upload.blob) for upload in plan.uploads if upload.blob.role != "sbom")
