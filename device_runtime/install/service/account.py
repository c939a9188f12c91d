"""The account that releases run as: made by root, of the system, with no way to log in."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from device_runtime.errors import EdgeError, UnfitError
from device_runtime.install.fsops import FileSystem, make_folders
from device_runtime.install.service.keeper import Account
from device_runtime.install.service.programs import NOT_FOUND, Programs

NAME = "edgekit"
_CAMERA_GROUPS = ("video", "render")
"""Whose members may open cameras, and the heaps that libcamera takes its buffers from."""
_NO_LOGIN = ("nologin", "false")
_FOLDER_MODE = 0o750
"""What the application makes, pictures among it, is for it and for root."""


def find_account(name: str = NAME) -> Optional[pwd.struct_passwd]:
    """Return what the system knows of an account, or None."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def existing_groups() -> tuple[str, ...]:
    """Return the groups for cameras that this machine has."""
    return tuple(name for name in _CAMERA_GROUPS if _has_group(name))


def ensure_account(
    programs: Programs, find: Callable[[], Optional[pwd.struct_passwd]] = find_account, name: str = NAME
) -> Account:
    """Return the account, made where it is missing.

    Raises:
        UnfitError: somebody may log in by that name, so it may own more than a release should reach.
        EdgeError: it cannot be made.
    """
    entry = find()
    if entry is None:
        said = _make(programs, name)
        entry = find()
        if entry is None:
            raise EdgeError(
                f"cannot make the account {name!r}, which releases run as: {said}",
                hint=f"sudo useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}",
            )
    if entry.pw_uid == 0 or Path(entry.pw_shell).name not in _NO_LOGIN:
        raise UnfitError(
            f"the account {name!r}: expected one that cannot log in, for releases to run as, "
            f"got uid {entry.pw_uid} with the shell {entry.pw_shell or '/bin/sh'}",
            hint=f"rename that user, or if it is for releases alone: sudo usermod --shell /usr/sbin/nologin {name}",
        )
    return Account(name, entry.pw_uid, entry.pw_gid)


def give_folder(fs: FileSystem, folder: Path, account: Account) -> None:
    """Make a folder where it is missing, and give it with all that is in it to ``account``. Raises OSError.

    Links are not followed, and files with a second name stay whose they are: that name may be anywhere.
    """
    make_folders(fs, folder)
    if folder.stat().st_uid == account.uid:
        return
    for path, _, files, descriptor in os.fwalk(folder, topdown=False):
        del path
        for name in files:
            _give_file(fs, name, descriptor, account)
        # The outermost is the last: a killed run does all of it again.
        fs.set_owner(descriptor, account.uid, account.gid)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fs.set_mode(handle, _FOLDER_MODE)
    finally:
        os.close(handle)


def _give_file(fs: FileSystem, name: str, folder: int, account: Account) -> None:
    if not stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            fs.set_owner(descriptor, account.uid, account.gid)
    finally:
        os.close(descriptor)


def _make(programs: Programs, name: str) -> str:
    """Make the account with what is there, and return what was said."""
    words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    done = programs.run([*words, "--shell", "/usr/sbin/nologin", "--comment", "edgekit releases", name])
    if done.code != NOT_FOUND:
        return done.said
    # A system without shadow's programs: systemd's own, which takes a line of sysusers.d(5).
    return programs.run(["systemd-sysusers", "--inline", f'u {name} - "edgekit releases" /nonexistent']).said


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
