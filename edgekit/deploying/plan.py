"""What a deployment would do, from what is on the board and what is in the bundle: a pure function."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from device_runtime.contract.manifest import BlobRef, distinct, room_for
from device_runtime.contract.status import BoardStatus, ReleaseInfo
from device_runtime.install.apply import quarantined
from device_runtime.install.compat import choose
from device_runtime.install.room import DiskFullError
from device_runtime.install.signature import UnsignedError
from device_runtime.install.trust import OlderSequenceError
from edgekit.bundling.describe import BundleFacts, PackageFacts


class Action(enum.StrEnum):
    """What a deployment comes to."""

    INSTALL = "install"
    REPAIR = "repair"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Wishes:
    """What the user asked for: a failed release once more, or everything anew."""

    retry: bool = False
    repair: bool = False


@dataclass(frozen=True)
class Upload:
    """A blob to be sent, from ``offset`` on: the bytes before came already."""

    blob: BlobRef
    offset: int = 0

    @property
    def size(self) -> int:
        """The bytes to be sent."""
        return self.blob.size - self.offset


@dataclass(frozen=True)
class DeployPlan:
    """What will happen.

    ``uploads`` are what the board lacks, ``installer_bytes`` those of the installer that it gets first (0: it keeps
    its own); ``restarts`` tells that a running application is stopped for the new one; ``reason`` tells why nothing is
    to be done; ``warnings`` are what the user should know before it happens.
    """

    action: Action
    release: str
    name: str
    version: str
    replaces: ReleaseInfo | None
    uploads: tuple[Upload, ...] = ()
    upload_bytes: int = 0
    installer_bytes: int = 0
    needed_bytes: int = 0
    restarts: bool = False
    reason: str = ""
    warnings: tuple[str, ...] = ()


def plan_deploy(
    status: BoardStatus, bundle: BundleFacts, wishes: Wishes | None = None, *, installer: tuple[str, int] = ("", 0)
) -> DeployPlan:
    """Decide what deploying ``bundle`` to the board of ``status`` comes to.

    Args:
        status: what the board told.
        bundle: what is in the bundle.
        wishes: what the user asked for.
        installer: digest and size of this host's installer for the board; an empty digest leaves the board's own.

    Raises:
        UnfitError: no package of the bundle fits the board, or its disk.
        QuarantinedError: the release failed on this board.
        UnsignedError: the board takes nothing but signed bundles.
        OlderSequenceError: it takes nothing older than what it had.
    """
    wishes = wishes or Wishes()
    compats = [package.compat for package in bundle.packages]
    package = bundle.packages[choose(f"{bundle.name} {bundle.version}", compats, status.facts)]
    _refuse(status, bundle, package, wishes)
    runs = status.current is not None and status.current.release == package.release
    if runs and not wishes.repair and status.safe_mode is None:
        reason = "this very release runs already"
        return DeployPlan(Action.NOTHING, package.release, bundle.name, bundle.version, status.current, reason=reason)
    uploads = _uploads(status, package.blobs, wishes)
    wheels = tuple(upload.blob for upload in uploads if upload.blob.role == "wheel")
    upload_bytes = sum(upload.size for upload in uploads)
    came = sum(upload.offset for upload in uploads)
    needed = room_for((upload.blob for upload in uploads), wheels) - came
    _refuse_disk(status, bundle, needed)
    digest, size = installer
    return DeployPlan(
        Action.REPAIR if runs and status.safe_mode is None else Action.INSTALL,
        package.release,
        bundle.name,
        bundle.version,
        status.current,
        uploads,
        upload_bytes,
        size if digest and digest != status.installer_digest else 0,
        needed,
        status.service is not None and status.service.state in ("running", "starting"),
        warnings=_warnings(status, bundle, needed),
    )


def _uploads(status: BoardStatus, blobs: Iterable[BlobRef], wishes: Wishes) -> tuple[Upload, ...]:
    there = () if wishes.repair else frozenset(status.blobs)
    lacking = (blob for blob in distinct(blobs) if blob.digest not in there)
    return tuple(Upload(blob, min(blob.size, max(0, status.incoming.get(blob.digest, 0)))) for blob in lacking)


def _refuse(status: BoardStatus, bundle: BundleFacts, package: PackageFacts, wishes: Wishes) -> None:
    named = f"{bundle.name} {bundle.version}"
    bad = status.bad_release(package.release)
    if bad and not wishes.retry:
        raise quarantined(named, bad)
    if status.signed_only and not bundle.signed:
        raise UnsignedError(
            f"{named} is not signed, and this board takes nothing else", hint="sign it: edgekit bundle --sign KEY"
        )
    highest = status.sequences.get(bundle.name, 0)
    if status.signed_only and package.compat.sequence < highest:
        raise OlderSequenceError(
            f"{named} is older than what this board had: expected sequence {highest} or higher, got "
            f"{package.compat.sequence}",
            hint="make a new bundle of it, which gets a higher sequence: edgekit bundle",
        )


def _refuse_disk(status: BoardStatus, bundle: BundleFacts, needed: int) -> None:
    """Refuse what cannot fit. Where something may still be removed for it, the board knows better."""
    removable = any(info.role == "kept" for info in status.releases) or status.incoming
    if needed > status.free_bytes and not removable:
        raise DiskFullError(
            f"{bundle.name} {bundle.version} does not fit on this board's disk: needs {needed} bytes, "
            f"{status.free_bytes} bytes free",
            hint=f"free some space on the board; see there: df -h {status.root}",
        )


def _warnings(status: BoardStatus, bundle: BundleFacts, needed: int) -> tuple[str, ...]:
    warnings = []
    if needed > status.free_bytes:
        warnings.append(f"needs {needed} bytes, {status.free_bytes} bytes free; old releases will be removed first")
    if status.current and status.current.name != bundle.name:
        warnings.append(f"replaces another application: {status.current.name} {status.current.version}")
    if status.busy:
        warnings.append("another installer is at work on this board")
    if status.safe_mode:
        warnings.append(f"the board is in safe mode, and leaves it for this: {status.safe_mode.reason}")
    return tuple(warnings)
