"""Chooses what keeps releases running: by the scope, and by what this machine has."""

from __future__ import annotations

from typing import Literal

from device_runtime.contract.events import Events
from device_runtime.contract.status import Scope
from device_runtime.install.application import Application, CheckedApplication
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.service.keeper import Keeper


def application_for(scope: Scope, root: Root, fs: FileSystem, check_timeout_s: float, events: Events) -> Application:
    """Return what runs from ``root`` in a scope.

    Args:
        scope: how releases run.
        root: where they are.
        fs: how files are changed.
        check_timeout_s: how long a release's check may take.
        events: hears what happens meanwhile.
    """
    if scope == "local":
        return CheckedApplication(check_timeout_s)
    from device_runtime.install.service.application import ServiceApplication, Timing  # noqa: PLC0415 - services only

    return ServiceApplication(root, _keeper(scope, root, fs), fs, events, Timing(check_timeout_s))


def _keeper(scope: Literal["system", "user"], root: Root, fs: FileSystem) -> Keeper:
    from device_runtime.install.service.systemd import SystemdKeeper, has_systemd  # noqa: PLC0415 - as above

    if has_systemd(scope):
        return SystemdKeeper(root, fs, scope)
    from device_runtime.install.service.process import ProcessKeeper  # noqa: PLC0415 - as above

    if scope == "user":
        return ProcessKeeper(root, fs)
    from device_runtime.install.service.account import ensure_account  # noqa: PLC0415 - as above
    from device_runtime.install.service.programs import SystemPrograms  # noqa: PLC0415 - as above

    return ProcessKeeper(root, fs, lambda: ensure_account(SystemPrograms()))
