"""Installs a bundle: the whole order, from the lock to the commit. docs/reference/installer.md explains it."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from device_runtime.contract.events import Notice, Progress, Step
from device_runtime.contract.manifest import BlobRef, distinct
from device_runtime.contract.status import BadRelease, InstallResult, InstallState, Outcome
from device_runtime.errors import BadFileError, InstallError
from device_runtime.files import refused
from device_runtime.install.collect import collect, sweep
from device_runtime.install.compat import choose_package
from device_runtime.install.fsops import make_folders, remove_tree, sync_everything, sync_folder
from device_runtime.install.incoming import discard_incoming
from device_runtime.install.layout import Bundle, Package, open_bundle
from device_runtime.install.lock import BRIEF_S, BusyError, locked, receiving
from device_runtime.install.pack import keep_installer
from device_runtime.install.recover import recover
from device_runtime.install.release import build_release, folder_damage, result_of
from device_runtime.install.room import Room, room_of
from device_runtime.install.root import ASIDE, TEMPORARY
from device_runtime.install.site import Site, uninterrupted
from device_runtime.install.trial import try_release
from device_runtime.install.trust import admission, require_newer
from device_runtime.install.unpack import unpack_wheel, unpacked_intact


class QuarantinedError(InstallError):
    """A release failed on this board before, and is not tried again unasked."""

    code = "quarantined"


def quarantined(named: str, bad: BadRelease) -> QuarantinedError:
    """Return the error that says of ``named`` why it is not tried again."""
    return QuarantinedError(
        f"{named} failed on this board at {bad.at}: {bad.reason}",
        hint="mend the cause and make a new bundle; to try this one once more: --retry",
    )


@dataclass(frozen=True)
class _Lacking:
    """What of a package is not on the board, or not intact there."""

    blobs: tuple[BlobRef, ...]
    wheels: tuple[BlobRef, ...]
    folder: bool

    @property
    def nothing(self) -> bool:
        return not (self.blobs or self.wheels or self.folder)


def apply_bundle(
    site: Site, path: Path, *, retry: bool = False, first: bool = False, wait_s: float = 0.0
) -> InstallResult:
    """Install a bundle and commit it, or leave everything as it was.

    Args:
        site: where to install.
        path: the bundle: a tar, or a folder. Of the root's own ``incoming`` folder, whose lock the caller holds, blobs
            are moved into the store, and it is removed in the end.
        retry: try a release that is quarantined once more.
        first: only where nothing is committed; what is stays.
        wait_s: how long to wait for another installer.

    Raises:
        BadFileError: the bundle is damaged.
        UnfitError: this machine cannot run it, or has not enough space.
        InstallError: its check or its trial failed; it is quarantined.
        BusyError: another installer is at work.
        EdgeError: the disk refuses.
    """
    try:
        if not site.root.path.is_dir():
            with open_bundle(path) as bundle:
                choose_package(bundle.packages)  # a bundle that is refused leaves not even a folder
        make_folders(site.fs, site.root.path)
        with locked(site.fs, site.root, max(wait_s, BRIEF_S)):
            state = recover(site)
            if first and state.committed is not None:
                return result_of(site.root, Outcome.UNCHANGED, state.committed, state.fallback)
            with open_bundle(path, admission(site, str(path))) as bundle:
                result = _install(site, state, bundle, retry=retry)
            if site.root.is_incoming(path):
                _tidy(site)
            return result
    except OSError as error:
        raise refused(error, Path(error.filename or site.root.path), "write") from error


def _install(site: Site, state: InstallState, bundle: Bundle, *, retry: bool) -> InstallResult:
    package = choose_package(bundle.packages)
    require_newer(site, state, package.manifest)
    bad = state.bad_release(package.release)
    if bad and not retry:
        raise quarantined(f"{package.manifest.name} {package.manifest.version}", bad)
    lacking = _lacking(site, package)
    runs = state.wanted == package.release
    if lacking.nothing and runs:
        return result_of(site.root, Outcome.UNCHANGED, state.committed, state.fallback)
    _require_blobs(bundle, lacking)
    lacking = _check_space(site, state, bundle, package, lacking)
    _require_blobs(bundle, lacking)
    site.journal.write("installing", package.release, f"{package.manifest.name} {package.manifest.version}")
    _bring_in(site, state, bundle, package, lacking)
    written = sum(blob.size for blob in lacking.blobs)
    if runs:
        site.journal.write("repaired", package.release)
        return result_of(site.root, Outcome.REPAIRED, state.committed, state.fallback, written)
    state = try_release(site, state, package.release)
    return result_of(site.root, Outcome.INSTALLED, state.committed, state.fallback, written)


def _require_blobs(bundle: Bundle, lacking: _Lacking) -> None:
    missing = [blob for blob in lacking.blobs if not bundle.has(blob)]
    if missing:
        raise BadFileError(
            f"{missing[0].name}: blob {missing[0].digest} is neither in the bundle nor on the board",
            hint="deploy once more, from the whole bundle",
        )


def _bring_in(site: Site, state: InstallState, bundle: Bundle, package: Package, lacking: _Lacking) -> None:
    """Write what is lacking; on failure nothing of it is left half-written."""
    try:
        keep_installer(site)
        _write_blobs(site, bundle, lacking.blobs)
        _place(site, package, lacking)
    except BaseException as error:
        with uninterrupted(), contextlib.suppress(OSError):
            sweep(site.fs, site.root)
            if isinstance(error, OSError):
                collect(site.fs, site.root, state)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _room(site, bundle, lacking).lacking(site.root.path) from error
        raise


def _lacking(site: Site, package: Package) -> _Lacking:
    site.events(Step("look for what is there already"))
    unique, wheels = distinct(package.manifest.blobs), distinct(package.manifest.of_role("wheel"))
    return _Lacking(
        tuple(blob for blob in unique if not site.store.intact(blob)),
        tuple(wheel for wheel in wheels if unpacked_intact(site.root.wheels / wheel.hex) is not None),
        folder_damage(site.root, package.release) is not None,
    )


def _write_blobs(site: Site, bundle: Bundle, blobs: tuple[BlobRef, ...]) -> None:
    total = sum(blob.size for blob in blobs)
    site.events(Step(f"copy {len(blobs)} blobs"))
    done = 0
    adopting = site.root.is_incoming(bundle.origin)
    for blob in blobs:
        source = bundle.path(blob) if adopting else None
        if source is not None:
            site.store.adopt(blob, source)  # renamed: it is not on the disk twice
        else:
            site.store.add(blob, bundle.read(blob))
        done += blob.size
        site.events(Progress(done, total, "bytes"))


def _place(site: Site, package: Package, lacking: _Lacking) -> None:
    """Unpack and put together under temporary names, flush once, then rename all into place."""
    moves: list[tuple[Path, Path]] = []
    make_folders(site.fs, site.root.wheels)
    make_folders(site.fs, site.root.releases)
    for wheel in lacking.wheels:
        site.events(Step(f"unpack and compile {wheel.name}"))
        final = site.root.wheels / wheel.hex
        temporary = final.with_name(TEMPORARY + wheel.hex)
        unpack_wheel(site.fs, wheel, site.store.path(wheel.hex), temporary, final)
        moves.append((temporary, final))
    if lacking.folder:
        final = site.root.release(package.release)
        temporary = final.with_name(TEMPORARY + package.release)
        build_release(site.fs, package, temporary)
        moves.append((temporary, final))
    # One flush for thousands of files: a third of the time of one for each, and before any name counts.
    sync_everything(site.fs, site.root.path)
    for temporary, final in moves:
        if os.path.lexists(final):  # damaged: replaced by an intact one
            aside = final.with_name(ASIDE + final.name)
            site.fs.rename(final, aside)
            site.fs.rename(temporary, final)
            remove_tree(site.fs, aside)
        else:
            site.fs.rename(temporary, final)
    for folder in (site.root.wheels, site.root.releases):
        sync_folder(site.fs, folder)


def _check_space(site: Site, state: InstallState, bundle: Bundle, package: Package, lacking: _Lacking) -> _Lacking:
    """Return what is lacking once there is room for it."""
    if _room(site, bundle, lacking).fits(site.root.path):
        return lacking
    if not site.root.is_incoming(bundle.origin):
        # The lock itself may take an inode that is not there any more.
        with contextlib.suppress(BusyError, OSError), receiving(site.fs, site.root):
            discard_incoming(site.fs, site.root)
    collect(site.fs, site.root, state)
    lacking = _lacking(site, package)  # blobs that nothing kept may have been what this one needs
    room = _room(site, bundle, lacking)
    if not room.fits(site.root.path):
        raise room.lacking(site.root.path)
    site.events(Notice("removed old releases to make room"))
    return lacking


def _room(site: Site, bundle: Bundle, lacking: _Lacking) -> Room:
    adopted = [blob for blob in lacking.blobs if bundle.has(blob)] if site.root.is_incoming(bundle.origin) else []
    return room_of(lacking.blobs, lacking.wheels, sum(blob.size for blob in adopted))


def _tidy(site: Site) -> None:
    """Remove what came: the bundle is installed."""
    try:
        discard_incoming(site.fs, site.root)
    except OSError as error:
        site.events(Notice(f"tidying up is left to the next command: {error}", "warning"))
