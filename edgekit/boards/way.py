"""How to reach a board's installer: a process to start, and what it reads first."""

from __future__ import annotations

import base64
import functools
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Literal, get_args

from device_runtime.contract.oci import digest_of
from device_runtime.errors import UsageError
from edgekit.boards.ssh import SshTarget, ssh_words
from edgekit.boards.target import LocalTarget

ScopeWish = Literal["auto", "system", "user"]
"""How releases are to run on a board: ``auto`` is the system's service where root can be had, else the user's."""
SCOPE_WISHES: tuple[str, ...] = get_args(ScopeWish)

_SETTLE_S = 60.0
"""An installer on this machine that is told to stop takes its trial back first."""


@dataclass(frozen=True)
class InstallerPack:
    """An installer as it is sent: ``deflated`` is a zip of ``size`` bytes that Python runs, ``digest`` is the zip's."""

    deflated: bytes
    digest: str
    size: int


@dataclass(frozen=True)
class Way:
    """How to begin a conversation.

    ``opening`` is what the process reads first, ``pack`` makes the installer for a board that has none or another one;
    ``ask`` lets ssh ask the user; ``settle_s`` is how long the process may take to stop.
    """

    target: LocalTarget | SshTarget
    words: tuple[str, ...]
    opening: bytes = b""
    pack: Callable[[], InstallerPack] | None = None
    ask: bool = False
    settle_s: float = _SETTLE_S

    @property
    def by_hand(self) -> str:
        """How a user comes there without us."""
        return self.target.by_hand if isinstance(self.target, SshTarget) else f"ls -la {self.target.root}"


def way_to(target: LocalTarget | SshTarget, scope: str = "auto", *, ask: bool = False) -> Way:
    """Return how to reach the installer of a target.

    Args:
        target: a folder on this machine, a board, or a folder on a board.
        scope: one of ``SCOPE_WISHES``, for a board.
        ask: let ssh ask for passwords and unknown hosts, on the user's terminal.

    Raises:
        UsageError: a scope was asked of a folder.
    """
    folder = target.root if isinstance(target, LocalTarget) else target.folder
    if folder is not None and scope != "auto":
        raise UsageError(
            f"{target}: a folder has no scope, and nothing runs from it by itself; got --scope {scope}",
            hint="leave out --scope, or name the board without a folder",
        )
    if isinstance(target, LocalTarget):
        # -P: what lies in the user's folder is not imported.
        words = (sys.executable, "-P", "-m", "device_runtime.install")
        return Way(target, (*words, "session", "--root", str(target.root), "--scope", "local"))
    if target.folder is not None:
        scope, root = "local", base64.b64encode(target.folder.encode("utf-8", "surrogateescape")).decode()
    else:
        root = "-"
    # Nothing but plain words, whatever the login shell: what is more goes through the channel.
    command = ("sh", "-s", "--", scope, root, base64.b64encode(zlib.compress(_file("bootstrap.py"), 9)).decode())
    return Way(target, tuple(ssh_words(target, command=command, ask=ask)), _file("start.sh"), _pack, ask, 5.0)


@functools.cache
def _pack() -> InstallerPack:
    from edgekit.bundling.installer_pack import installer_pack  # noqa: PLC0415 - only for boards that are elsewhere

    content = installer_pack()
    return InstallerPack(zlib.compress(content, 9), digest_of(content), len(content))


def _file(name: str) -> bytes:
    return resources.files("edgekit.boards").joinpath(name).read_bytes()
