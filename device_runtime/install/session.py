"""The board's side of a conversation with a host over one connection (``contract.session`` has what is said)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Optional

from device_runtime.contract.session import (
    GREETING,
    Apply,
    Bench,
    Blob,
    Command,
    Index,
    Installer,
    decode_request,
)
from device_runtime.contract.status import Answer, encode_line
from device_runtime.errors import BadFileError, UsageError
from device_runtime.files import refused
from device_runtime.install.apply import apply_bundle
from device_runtime.install.bench import bench
from device_runtime.install.commands import logs, recover_root, roll_back, status, trust, verify
from device_runtime.install.fsops import FileSystem, write_all
from device_runtime.install.host import Host
from device_runtime.install.receive import Receiver
from device_runtime.install.remove import remove
from device_runtime.install.site import Site

_MAX_INSTALLER_BYTES = 16 << 20


def converse(site: Site, host: Host, say: Callable[[str], object], again: Sequence[str]) -> Optional[Answer]:
    """Greet, tell the status, and do what the host asks for, until something gives an answer or the host hangs up.

    Args:
        site: where.
        host: the other end.
        say: writes a line to it.
        again: the words of this command's options, for an installer that takes over.

    Raises:
        EdgeError: what was asked for failed; the conversation is over.
    """
    say(GREETING)
    say(encode_line(status(site)))
    with contextlib.closing(Receiver(site, host)) as receiver:
        while True:
            line = host.line(hurry=receiver.receiving)
            if line is None:
                return None
            try:
                answer = _do(site, host, receiver, line, again)
            except OSError as error:
                raise refused(error, Path(error.filename or site.root.path), "write") from error
            if answer is not None:
                return answer


def _do(site: Site, host: Host, receiver: Receiver, line: str, again: Sequence[str]) -> Optional[Answer]:
    request = decode_request(line)
    if isinstance(request, Index):
        receiver.index(request)
        return None
    if isinstance(request, Blob):
        receiver.blob(request)
        return None
    if isinstance(request, Installer):
        _give_way(site.fs, host, request, again)
    if isinstance(request, Bench):
        return bench(site, host, receiver, request)
    if isinstance(request, Apply):
        if not receiver.receiving or receiver.throws_away:
            raise BadFileError("expected the bundle's index before it is installed")
        return apply_bundle(site, site.root.incoming, retry=request.retry, wait_s=request.wait_s)
    # What a command changes must not wait for a host that waits for us.
    receiver.close()
    return _command(site, host, request)


def _command(site: Site, host: Host, request: Command) -> Answer:
    if request.name == "logs":
        if request.follow:
            threading.Thread(target=_stop_with, args=(host,), daemon=True).start()
        return logs(site, request.lines, follow=request.follow)
    if request.name == "trust":
        return trust(site, request.text, wait_s=request.wait_s)
    commands = {"rollback": roll_back, "verify": verify, "recover": recover_root, "remove": remove}
    if request.name not in commands:
        known = ", ".join(sorted([*commands, "logs", "trust"]))
        raise UsageError(
            f"the host's command: expected one of {known}, got {request.name[:40]!r}", hint="update edgekit"
        )
    return commands[request.name](site, wait_s=request.wait_s)


def _stop_with(host: Host) -> None:
    """End this process when the host hangs up: a log that is followed has no end of its own."""
    while not host.hung_up():
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _give_way(fs: FileSystem, host: Host, request: Installer, again: Sequence[str]) -> NoReturn:
    """Become the installer that the host sends; nothing of it touches the disk. Raises BadFileError, OSError."""
    for size in (request.size, request.deflated):
        if not 0 < size <= _MAX_INSTALLER_BYTES:
            raise BadFileError(f"the installer: expected 1 to {_MAX_INSTALLER_BYTES} bytes, got {size}")
    descriptor, path = _unnamed_file()
    digest = hashlib.sha256()
    inflater, left = zlib.decompressobj(), request.size
    for packed in host.payload(request.deflated):
        try:
            piece = inflater.decompress(packed, left + 1)
        except zlib.error as error:
            raise BadFileError(f"the installer: altered on its way: {error}", hint="do the same again") from error
        left -= len(piece)
        digest.update(piece)
        write_all(fs, descriptor, piece)
    if left or f"sha256:{digest.hexdigest()}" != request.digest:
        raise BadFileError(
            f"the installer: altered on its way: expected {request.digest}, got sha256:{digest.hexdigest()}",
            hint="do the same again",
        )
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - its only argument
    os.execv(sys.executable, [sys.executable, "-I", path, "session", *again])  # noqa: S606 - there is no shell in it


def _unnamed_file() -> tuple[int, str]:
    """Return a new file that goes with this process, and a path to it that holds after execve(2): the pid stays."""
    try:
        descriptor = os.memfd_create("edgekit-installer")
    except (AttributeError, OSError):  # an older kernel or C library
        descriptor, name = tempfile.mkstemp(prefix="edgekit-installer-")
        os.unlink(name)  # noqa: PTH108 - a path of mkstemp's
    return descriptor, f"/proc/{os.getpid()}/fd/{descriptor}"
