"""What every command of the installer works with."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from device_runtime.contract.events import Events, silent
from device_runtime.contract.status import Scope
from device_runtime.install.application import Application
from device_runtime.install.fsops import FileSystem
from device_runtime.install.journal import Journal
from device_runtime.install.root import Root
from device_runtime.install.service.processes import boot_id
from device_runtime.install.store import Store

_STOPPING = {signal.SIGINT, signal.SIGTERM}


@dataclass(frozen=True)
class Site:
    """One root, the way to change it, what runs there, who listens, and how releases run there.

    ``boot`` names the boot that the machine is in; empty where no trial outlives one.
    """

    root: Root
    application: Application
    fs: FileSystem
    events: Events = silent
    scope: Scope = "local"
    boot: str = ""

    @property
    def journal(self) -> Journal:
        """The journal of this root."""
        return Journal(self.root, self.fs)

    @property
    def store(self) -> Store:
        """The blobs of this root."""
        return Store(self.root, self.fs)


def boot_of(scope: Scope) -> str:
    """Return what names this boot, where releases run by themselves: there a trial goes on over a reboot."""
    return "" if scope == "local" else boot_id()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM during the few steps that belong together; they arrive at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
