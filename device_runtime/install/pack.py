"""The installer as one file: the zip that this process runs from, and the copy of it that a root keeps."""

from __future__ import annotations

import functools
import zipfile
import zipimport
from pathlib import Path
from typing import Optional

from device_runtime.contract.manifest import INSTALLER_VERSION
from device_runtime.contract.oci import digest_of
from device_runtime.contract.status import Scope
from device_runtime.install.fsops import make_folders, replace_file
from device_runtime.install.root import Root
from device_runtime.install.site import Site

_MARK = b"edgekit-installer "


def pack_comment() -> bytes:
    """Return what the comment of such a zip is: which installer it is, for those that must not replace a newer one."""
    return _MARK + str(INSTALLER_VERSION).encode()


@functools.cache
def own_digest() -> str:
    """Return ``sha256:<64 hex>`` of the zip that this process runs from, or an empty text when it runs from none.

    It is read once: the zip may be a file in the memory of a process that is gone when this one still works.
    """
    path = _own_pack()
    return digest_of(path.read_bytes()) if path else ""


def keep_installer(site: Site) -> None:
    """Let the root have this very installer, whole, for its next commands and its boots; the lock is held.

    An installer that knows more than this one is left alone. One that runs from sources keeps nothing.

    Raises:
        OSError: the disk refuses; what was there before is.
    """
    own = _own_pack()
    kept = site.root.installer
    if own is not None and _version_of(kept) <= INSTALLER_VERSION:
        content = own.read_bytes()
        if not _is(kept, content):
            make_folders(site.fs, site.root.path)
            replace_file(site.fs, kept, content)
    if site.scope not in ("local", read_scope(site.root)):
        replace_file(site.fs, site.root.scope, site.scope.encode() + b"\n")


def read_scope(root: Root) -> Scope:
    """Return how releases run in a root, as ``keep_installer`` left it there; ``local`` when nothing is told."""
    try:
        text = root.scope.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "local"
    return "system" if text == "system" else "user" if text == "user" else "local"


def _own_pack() -> Optional[Path]:
    loader: object = __spec__.loader if __spec__ else None
    if not isinstance(loader, zipimport.zipimporter):
        return None
    path = Path(loader.archive)
    return path if _version_of(path) >= 0 else None  # a wheel, for one, is not to be run by its name


def _version_of(path: Path) -> int:
    """Return which installer a zip is, or -1 when it is none, is damaged, or is not there."""
    try:
        with zipfile.ZipFile(path) as archive:
            mark, _, number = archive.comment.partition(b" ")
    except Exception:  # noqa: BLE001 - a damaged zip raises anything: BadZipFile, struct.error, NotImplementedError, …
        return -1
    return int(number) if mark + b" " == _MARK and number.isdigit() else -1


def _is(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and path.read_bytes() == content
    except OSError:
        return False
