"""Runs on a board, sent by start.sh: gives way to the board's installer, or to one that the host sends.

The standard library of Python 3.9 alone, and no word to the host but the two lines of ``contract/session.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import sys
import tempfile
import zipfile
import zlib

NEED_INSTALLER = "edgekit-session needs-installer"
"""As in ``contract/session.py``, which is not on the board yet."""

_MAX_LINE_BYTES = 4096
_MAX_INSTALLER_BYTES = 16 << 20
_SILENCE_S = 60
"""A host that says nothing for so long is gone; TCP alone would notice hours later."""


def main(scope: str, root_word: str) -> None:
    """Become the installer. ``root_word`` is the root in base64, or ``-``."""
    root = default_root(scope) if root_word == "-" else base64.b64decode(root_word).decode("utf-8", "surrogateescape")
    installer = os.path.join(root, "installer.pyz")  # noqa: PTH118 - pathlib takes 20 ms more on a slow board
    if not runs(installer):
        sys.stdout.write(NEED_INSTALLER + "\n")
        sys.stdout.flush()
        installer = receive()
    words = [sys.executable, "-I", installer, "session", "--root", root, "--scope", scope]
    os.execv(sys.executable, words)  # noqa: S606 - there is no shell in it


def default_root(scope: str) -> str:
    """Return where releases of a scope are kept."""
    if scope == "system":
        return "/var/lib/edgekit"
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")  # noqa: PTH111 - as above
    return os.path.join(home, "edgekit")  # noqa: PTH118 - as above


def runs(installer: str) -> bool:
    """Return whether a whole installer is there, which nobody else could have put there."""
    try:
        with open(installer, "rb") as stream:  # noqa: PTH123 - as above
            if os.fstat(stream.fileno()).st_uid not in (0, os.geteuid()):
                return False
            with zipfile.ZipFile(stream) as archive:
                return archive.testzip() is None and "__main__.py" in archive.namelist()
    except Exception:  # noqa: BLE001 - a damaged zip raises anything: zlib.error, struct.error, NotImplementedError, …
        return False


def receive() -> str:
    """Read an ``Installer`` request and its bytes, and return a path from which Python runs them."""
    line = b""
    while not line.endswith(b"\n"):
        line += read(1)
        if len(line) > _MAX_LINE_BYTES:
            sys.exit("edgekit: expected a request, got a long line")
    wanted = json.loads(line)["installer"]
    if not (0 < wanted["size"] <= _MAX_INSTALLER_BYTES and 0 < wanted["deflated"] <= _MAX_INSTALLER_BYTES):
        sys.exit("edgekit: the installer has an odd size")
    packed = b""
    while len(packed) < wanted["deflated"]:
        packed += read(min(wanted["deflated"] - len(packed), 1 << 16))
    try:
        content = zlib.decompressobj().decompress(packed, wanted["size"])
    except zlib.error:
        content = b""
    if "sha256:" + hashlib.sha256(content).hexdigest() != wanted["digest"]:
        sys.exit("edgekit: the installer was altered on its way")
    return keep(content)


def read(size: int) -> bytes:
    """Read up to ``size`` bytes, and not one more: what follows is for whoever comes next."""
    if not select.select([0], [], [], _SILENCE_S)[0]:
        sys.exit("edgekit: the host says nothing any more")
    piece = os.read(0, size)
    if not piece:
        sys.exit("edgekit: the host went away")
    return piece


def keep(content: bytes) -> str:
    """Return a path to a file of these bytes: in memory, so that asking leaves nothing on the board."""
    try:
        descriptor = os.memfd_create("edgekit-installer", 0)  # without MFD_CLOEXEC: it is for the program to come
        path = "/proc/%d/fd/%d" % (os.getpid(), descriptor)  # noqa: UP031 - the pid stays: see execve(2)
        os.stat(path)  # noqa: PTH116 - as above
    except (AttributeError, OSError):
        descriptor, path = tempfile.mkstemp(prefix="edgekit-installer-", suffix=".pyz")
    with os.fdopen(descriptor, "wb", closefd=False) as stream:
        stream.write(content)
    return path


if __name__ == "__main__":
    main(*sys.argv[2:4])
