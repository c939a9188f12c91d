"""The board's root filesystem: made from Debian's packages once, under emulation, and kept unpacked in the cache."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from converters.cache import cache_folder
from device_runtime.errors import UnfitError
from device_runtime.files import making_folder, replacing
from tests.board import guest_files
from tests.board.debian import mirrors
from tests.board.emulator import CPU, arm64_programs
from tests.board.running import check_programs, done, find, locked, recipe_of, say

PYTHONS = {"bookworm": ((3, 11), 36), "trixie": ((3, 13), 41)}
"""Debian's suites with their Python and the minor number of their glibc 2."""

_PACKAGES = (
    "ca-certificates",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "netbase",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
)
_NOT_UNPACKED = ("/usr/share/man/*", "/usr/share/locale/*", "/lib/udev/hwdb.d/*", "/usr/lib/udev/hwdb.d/*")
_RECIPE = 1
"""To be counted up when the tarball is to be made otherwise."""
_BUILD_LIMIT_S = 3600


def tarball(suite: str = "bookworm") -> Path:
    """Return the root filesystem as Debian's packages make it, as a tarball; made when it is not there yet.

    Raises:
        UnfitError: this is not root, or a program, a mirror, the network or binfmt_misc is missing.
    """
    if suite not in PYTHONS:
        raise UnfitError(f"suite: expected one of {', '.join(PYTHONS)}, got {suite!r}")
    check_programs()
    recipe = recipe_of(_RECIPE, suite, _PACKAGES, _NOT_UNPACKED, guest_files.USERS)
    path = cache_folder() / f"board-{suite}-{recipe}.tar"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")), arm64_programs():
        if not path.exists():
            _make(suite, path)
    return path


def root(suite: str = "bookworm") -> Path:
    """Return the unpacked root filesystem, with the board's users. Nobody may write to it.

    Raises:
        UnfitError: as ``tarball`` does.
    """
    packed = tarball(suite)
    path = packed.with_suffix("")
    with locked(packed.with_suffix(".lock")), arm64_programs():
        if not path.exists():
            say(f"unpacking {packed.name}")
            with making_folder(path) as made:
                done(["tar", "--extract", "--numeric-owner", "--xattrs", "--file", packed, "--directory", made])
                _add_users(made)
    return path


def _make(suite: str, path: Path) -> None:
    say(f"making an arm64 root filesystem of Debian {suite} under emulation: 5 to 15 minutes, once ({path})")
    start_s = time.monotonic()
    for left in path.parent.glob(f".{path.stem}-*"):  # of a process that was killed: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
        left.unlink(missing_ok=True)
    words = ["mmdebstrap", "--arch=arm64", "--variant=minbase", "--mode=root", "--format=tar"]
    # Looked for is a handler of the name that Debian's package registers; ours is there.
    words += ["--skip=check/qemu", f"--include={','.join(_PACKAGES)}"]
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _NOT_UNPACKED]
    log = path.with_suffix(".log")
    with replacing(path) as temporary:
        done([*words, suite, temporary, *mirrors(suite)], limit_s=_BUILD_LIMIT_S, log=log)
    say(f"made in {time.monotonic() - start_s:.0f} s, {path.stat().st_size / 1e6:.0f} MB")


def _add_users(root_folder: Path) -> None:
    for name, number in guest_files.USERS.items():
        words = ["useradd", "--create-home", "--shell", "/bin/bash", "--uid", str(number), "--password", "*", name]
        in_root(root_folder, *words)


def settle(root_folder: Path, suite: str) -> None:
    """Put the board's own files, units and links into a root filesystem."""
    files = {**guest_files.FILES, **guest_files.SUITE_FILES.get(suite, {})}
    for name, content in files.items():
        path = root_folder / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(guest_files.MODES.get(name, 0o644))
    units = root_folder / "etc/systemd/system"
    for name in guest_files.MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (units / "sysinit.target.wants").mkdir(exist_ok=True)
    for name in guest_files.ENABLED:
        (units / "sysinit.target.wants" / name).symlink_to(f"../{name}")
    for key in (root_folder / "etc/ssh").glob("ssh_host_*"):
        key.unlink()


def in_root(root_folder: Path, *words: str) -> str:
    """Run a program of an unpacked root filesystem in it, and return what it printed. Raises UnfitError."""
    chroot = find("chroot") or "chroot"
    return done(["env", "-i", f"QEMU_CPU={CPU}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", chroot, root_folder, *words])
