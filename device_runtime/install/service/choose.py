"""Chooses what keeps releases running: by the scope, and by what this machine has."""

from __future__ import annotations

from typing import Literal

from device_runtime.contract.events import Events
from device_runtime.contract.status import Scope
from device_runtime.install.application import Application, CheckedApplication
from device_runtime.install.fsops import FileSystem
from device_runtime.install.root import Root
from device_runtime.install.service.account import ensure_account
from device_runtime.install.service.application import ServiceApplication, Timing
from device_runtime.install.service.keeper import Keeper
from device_runtime.install.service.process import ProcessKeeper
from device_runtime.install.service.programs import SystemPrograms
from device_runtime.install.service.systemd import SystemdKeeper, has_systemd


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
    return ServiceApplication(root, _keeper(scope, root, fs), fs, events, Timing(check_timeout_s))


def _keeper(scope: Literal["system", "user"], root: Root, fs: FileSystem) -> Keeper:
    if has_systemd(scope):
        return SystemdKeeper(root, fs, scope)
    if scope == "user":
        return ProcessKeeper(root, fs)
    return ProcessKeeper(root, fs, lambda: ensure_account(SystemPrograms()))
