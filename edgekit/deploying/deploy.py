"""Deploys a bundle: plans from what the board said, sends what it lacks, and lets its installer do the work."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.events import Events, Notice, Progress, Step
from device_runtime.contract.manifest import BlobRef
from device_runtime.contract.oci import digest_of
from device_runtime.contract.session import Apply, Blob, Index
from device_runtime.contract.status import InstallResult, Outcome
from device_runtime.install.layout import Bundle, open_bundle
from edgekit.boards.health import Health, health_of
from edgekit.boards.link import WAIT_S, Link
from edgekit.bundling.describe import BundleFacts
from edgekit.deploying.plan import Action, DeployPlan, Upload, Wishes, plan_deploy


@dataclass(frozen=True)
class Deployment:
    """What was planned, and what came of it; ``result`` is None when only a plan was wanted.

    ``health`` is how what ran before was doing when the board was asked; ``sent_bytes`` and ``exchanges`` are what
    the connection carried; ``seconds`` count from its beginning.
    """

    target: str
    bundle: str
    plan: DeployPlan
    health: Health
    result: InstallResult | None = None
    sent_bytes: int = 0
    exchanges: int = 0
    seconds: float = 0.0


def plan_deployment(link: Link, bundle: BundleFacts, wishes: Wishes) -> Deployment:
    """Return what a deployment would do; nothing is sent for it.

    Raises:
        EdgeError: what ``plan_deploy`` refuses.
    """
    plan = plan_deploy(link.status, bundle, wishes, installer=_installer(link))
    return Deployment(
        link.name, bundle.path, plan, health_of(link.status), sent_bytes=link.sent_bytes, exchanges=link.exchanges
    )


def deploy(link: Link, bundle: BundleFacts, wishes: Wishes, events: Events) -> Deployment:
    """Deploy a bundle over an open link.

    Raises:
        InstallError: the release failed, or failed before; what ran before still runs.
        BadFileError: the bundle is damaged.
        UnreachableError: the connection was lost.
        EdgeError: what ``plan_deploy`` refuses before anything is sent, or the board's installer said.
    """
    planned = plan_deployment(link, bundle, wishes)
    plan = planned.plan
    if plan.action is Action.NOTHING:
        result = InstallResult(Outcome.UNCHANGED, link.status.current, link.status.previous)
    else:
        if plan.installer_bytes:
            events(Step("send the installer"))
            link.renew_installer()
            # It may know more of the board than the one before.
            plan = plan_deployment(link, bundle, wishes).plan
        for warning in plan.warnings:
            events(Notice(warning, "warning"))
        with open_bundle(Path(bundle.path)) as opened:
            send_bundle(link, opened, plan.uploads, events)
        result = link.result(Apply(wishes.retry, WAIT_S), events)
    seconds = time.monotonic() - link.began
    return Deployment(
        link.name, bundle.path, plan, planned.health, result, link.sent_bytes, link.exchanges, round(seconds, 3)
    )


def _installer(link: Link) -> tuple[str, int]:
    pack = link.installer
    return (pack.digest, len(pack.deflated)) if pack else ("", 0)


def send_bundle(
    link: Link, bundle: Bundle, uploads: Sequence[Upload], events: Events, *, throw_away: bool = False
) -> None:
    """Send the index, what it names of itself, and what the board lacks; nothing is waited for.

    ``throw_away``: it is only to be measured, and nothing of it stays.

    Raises:
        EdgeError: what the board says meanwhile, or that it is gone.
    """
    index = bundle.index_content
    frame = [Upload(blob) for blob in frame_blobs(bundle)]
    everything = [*frame, *uploads]
    events(Step(f"send {len(uploads)} blobs"))
    done, total = 0, sum(upload.size for upload in everything)
    for _ in link.send(Index(digest_of(index), len(index), throw_away), (index,)):
        pass
    for upload in everything:
        request = Blob(upload.blob.digest, upload.blob.size, upload.offset)
        for sent in link.send(request, from_offset(bundle.read(upload.blob), upload.offset)):
            done += sent
            events(Progress(done, total, "bytes"))


def frame_blobs(bundle: Bundle) -> tuple[BlobRef, ...]:
    """Return the manifests and configs of a bundle: a few KB that say what the other blobs are."""
    manifests = (BlobRef("manifest", each.digest, each.size, "manifest.json") for each in bundle.index.manifests)
    configs = (
        BlobRef("config", f"sha256:{package.release}", len(package.config), "config.json")
        for package in bundle.packages
    )
    unique = {blob.digest: blob for blob in (*manifests, *configs)}
    return tuple(unique.values())


def from_offset(pieces: Iterable[bytes], offset: int) -> Iterator[bytes]:
    """Yield what comes after the first ``offset`` bytes; all of them are read, and so verified."""
    for piece in pieces:
        if offset < len(piece):
            yield piece[offset:]
        offset = max(0, offset - len(piece))
