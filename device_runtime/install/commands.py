"""The installer's other commands: status, rollback, verify, recover, trust, logs."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import Optional

from device_runtime.contract.events import LogLine, Notice, Step
from device_runtime.contract.manifest import INSTALLER_VERSION
from device_runtime.contract.status import BoardStatus, InstallResult, InstallState, Outcome, ReleaseInfo
from device_runtime.errors import BadFileError, EdgeError, InstallError
from device_runtime.files import refused, sha256_of
from device_runtime.install.collect import collect
from device_runtime.install.compat import machine_facts
from device_runtime.install.fsops import make_folders
from device_runtime.install.incoming import arrived
from device_runtime.install.journal import last_entries
from device_runtime.install.lock import BRIEF_S, BusyError, locked
from device_runtime.install.pack import keep_installer, own_digest
from device_runtime.install.recover import recover, settled
from device_runtime.install.release import damage, read_release, release_info, result_of
from device_runtime.install.room import free_bytes
from device_runtime.install.site import Site
from device_runtime.install.state import read_state
from device_runtime.install.trial import try_release
from device_runtime.install.trust import check_signers, is_signed_only, set_signers

_TOLD_ENTRIES = 20
_CANNOT_WRITE = (errno.EROFS, errno.EACCES, errno.EPERM)


class NoPreviousError(EdgeError):
    """There is no release to return to."""

    code = "no-previous"


def status(site: Site) -> BoardStatus:
    """Return what is on the board, after settling what a killed command left.

    While another installer works, what is found is told as it is, marked ``busy``; and where nothing can be written.

    Raises:
        BadFileError: a newer installer was here.
        EdgeError: the disk refuses.
    """
    if not site.root.path.is_dir():
        return _status(site, InstallState(), busy=False)
    try:
        with locked(site.fs, site.root):
            return _status(site, recover(site, "keep"), busy=False)
    except BusyError:
        return _status(site, read_state(site.root) or InstallState(), busy=True)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise refused(error, Path(error.filename or site.root.path), "write") from error
        # A card that wore out is read-only from then on: whoever asks why has to be told something.
        site.events(Notice(f"nothing was settled: {refused(error, site.root.path, 'write')}", "warning"))
        return _status(site, read_state(site.root) or InstallState(), busy=False)


def roll_back(site: Site, *, wait_s: float = 0.0) -> InstallResult:
    """Return to the previous release, which has to prove itself as a new one would.

    Raises:
        NoPreviousError: there is none.
        InstallError: it is damaged or fails; the current release still runs.
        BusyError: another installer is at work.
        EdgeError: the disk refuses.
    """
    if not site.root.path.is_dir():
        raise _no_previous(site)
    with settled(site, max(wait_s, BRIEF_S)) as state:
        if state.fallback is None:
            raise _no_previous(site)
        broken = damage(site.root, site.store, state.fallback)
        if broken:
            raise InstallError(
                f"the previous release is damaged: {broken[0]}; the current one still runs",
                hint="deploy its bundle with --repair: damaged parts are replaced",
            )
        site.journal.write("rollback", state.fallback)
        after = try_release(site, state, state.fallback)
        return result_of(site.root, Outcome.RETURNED, after.committed, after.fallback)


def verify(site: Site, *, wait_s: float = 0.0) -> InstallResult:
    """Read every byte of what is installed.

    Raises:
        BadFileError: something is missing or altered.
        BusyError: another installer is at work.
        EdgeError: the disk refuses.
    """
    if not site.root.path.is_dir():
        return InstallResult(Outcome.INTACT)
    with settled(site, max(wait_s, BRIEF_S), "keep") as state:
        site.events(Step("read every byte of what is installed"))
        found: list[str] = []
        for release in (state.committed, state.fallback):
            found += damage(site.root, site.store, release) if release else []
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            raise BadFileError(
                f"{site.root.path}: {found[0]}{more}", hint="deploy it with --repair: damaged parts are replaced"
            )
        return result_of(site.root, Outcome.INTACT, state.committed, state.fallback)


def recover_root(site: Site, *, boot: bool = False, wait_s: float = 0.0) -> InstallResult:
    """Settle what a killed command left, and remove what nothing needs. Raises as ``verify`` does.

    With ``boot`` the machine is starting: a trial goes on, and what is to run is not started here.
    """
    if not site.root.path.is_dir():
        return InstallResult(Outcome.RECOVERED)
    with settled(site, max(wait_s, BRIEF_S), "count" if boot else "end") as state:
        collect(site.fs, site.root, state)
        return result_of(site.root, Outcome.RECOVERED, state.committed, state.fallback)


def trust(site: Site, text: str, *, replace: bool = False, wait_s: float = 0.0) -> InstallResult:
    """Let the board take nothing but what these signers sign (``text`` is an ``allowed_signers`` file).

    Args:
        site: where.
        text: the file.
        replace: replace one that is there; only for those who stand at the board.
        wait_s: how long to wait for another installer.

    Raises:
        BadFileError: it names no signers.
        TrustedAlreadyError: others are trusted already.
        BusyError: another installer is at work.
        EdgeError: the disk refuses.
    """
    check_signers(text, "the signers")
    try:
        make_folders(site.fs, site.root.path)
    except OSError as error:
        raise refused(error, Path(error.filename or site.root.path), "write") from error
    with settled(site, max(wait_s, BRIEF_S), "keep") as state:
        keep_installer(site)
        set_signers(site, text, replace=replace)
        return result_of(site.root, Outcome.UNCHANGED, state.committed, state.fallback)


def logs(site: Site, lines: int, *, follow: bool) -> InstallResult:
    """Tell the last ``lines`` of the application's log, and with ``follow`` those that come, without end.

    Raises:
        EdgeError: there is no log, or it cannot be read.
    """
    for text in site.application.logs(lines, follow):
        site.events(LogLine(text))
    state = read_state(site.root) or InstallState()
    return result_of(site.root, Outcome.UNCHANGED, state.committed, state.fallback)


def _status(site: Site, state: InstallState, *, busy: bool) -> BoardStatus:
    roles = {state.committed: "current", state.fallback: "previous"}
    if state.trial:
        roles[state.trial.release] = "trial"
    listed = [release_info(site.root, release, roles.get(release, "kept")) for release in site.root.installed()]
    releases = [info for info in listed if info]
    return BoardStatus(
        root=str(site.root.path),
        installer=INSTALLER_VERSION,
        facts=machine_facts(),
        free_bytes=free_bytes(site.root.path),
        current=_with_role(releases, "current"),
        previous=_with_role(releases, "previous"),
        trial=state.trial,
        bad=state.bad,
        releases=tuple(releases),
        blobs=_blobs(site, busy=busy),
        busy=busy,
        scope=site.scope,
        service=site.application.status(),
        incoming={f"sha256:{digest}": size for digest, size in arrived(site.root).items()},
        installer_digest=own_digest(),
        signed_only=is_signed_only(site.root),
        sequences=state.sequences,
        safe_mode=state.safe_mode,
        journal=tuple(last_entries(site.root, _TOLD_ENTRIES)),
    )


def _blobs(site: Site, *, busy: bool) -> tuple[str, ...]:
    """Return the digests of the blobs that need not be sent.

    Those of an installed release were flushed before it got its name. Others may be empty after a power cut, and a
    host that leaves them out could never finish: they count only when they are read and found whole.
    """
    named: dict[str, int] = {}
    for release in site.root.installed():
        with contextlib.suppress(EdgeError):  # damaged
            named.update((blob.hex, blob.size) for blob in read_release(site.root, release).blobs)
    told = []
    for digest in site.root.stored():
        path = site.store.path(digest)
        with contextlib.suppress(OSError):  # removed by who is busy
            if path.stat().st_size == named[digest] if digest in named else not busy and sha256_of(path) == digest:
                told.append(f"sha256:{digest}")
    return tuple(told)


def _with_role(releases: list[ReleaseInfo], role: str) -> Optional[ReleaseInfo]:
    return next((info for info in releases if info.role == role), None)


def _no_previous(site: Site) -> NoPreviousError:
    return NoPreviousError(f"{site.root.path}: there is no previous release to return to", hint="see: edgekit releases")
