"""What a deployment would do, from what is on the board and what is in the bundle: a pure function."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from device_runtime.contract.manifest import BlobRef, room_for
from device_runtime.contract.status import BoardStatus, ReleaseInfo
from device_runtime.install.compat import choose
from edgekit.bundling.describe import BundleFacts


class Action(enum.StrEnum):
    """What a deployment comes to."""

    INSTALL = "install"
    NOTHING = "nothing"
    REFUSED = "refused"


@dataclass(frozen=True)
class DeployPlan:
    """What will happen. ``uploads`` are the blobs that the board lacks; ``reason`` tells why nothing or a refusal.

    ``warnings`` are what the user should know before it happens.
    """

    action: Action
    release: str
    name: str
    version: str
    replaces: ReleaseInfo | None
    uploads: tuple[BlobRef, ...] = ()
    upload_bytes: int = 0
    needed_bytes: int = 0
    reason: str = ""
    warnings: tuple[str, ...] = ()


def plan_deploy(status: BoardStatus, bundle: BundleFacts, *, retry: bool = False) -> DeployPlan:
    """Decide what deploying ``bundle`` to the board of ``status`` comes to.

    Raises:
        UnfitError: no package of the bundle fits the board.
    """
    compats = [package.compat for package in bundle.packages]
    package = bundle.packages[choose(f"{bundle.name} {bundle.version}", compats, status.facts)]
    unique = {blob.digest: blob for blob in package.blobs}
    uploads = tuple(blob for digest, blob in unique.items() if digest not in status.blobs)
    wheels = tuple(blob for blob in uploads if blob.role == "wheel")
    needed = room_for(uploads, wheels)
    action, reason = Action.INSTALL, ""
    bad = status.bad_release(package.release)
    if bad and not retry:
        action, reason = Action.REFUSED, f"it failed on this board at {bad.at}: {bad.reason}"
    elif status.current and status.current.release == package.release:
        action, reason = Action.NOTHING, "this very release runs already"
    return DeployPlan(
        action,
        package.release,
        bundle.name,
        bundle.version,
        status.current,
        uploads,
        sum(blob.size for blob in uploads),
        needed,
        reason,
        _warnings(status, bundle, needed),
    )


def _warnings(status: BoardStatus, bundle: BundleFacts, needed: int) -> tuple[str, ...]:
    warnings = []
    if needed > status.free_bytes:
        warnings.append(f"needs {needed} bytes, {status.free_bytes} bytes free; old releases will be removed first")
    if status.current and status.current.name != bundle.name:
        warnings.append(f"replaces another application: {status.current.name} {status.current.version}")
    if status.busy:
        warnings.append("another installer is at work on this board")
    return tuple(warnings)
