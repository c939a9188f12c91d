"""Measures a release on its board: the current one, or a throw-away one, beside the running service or without it.

Both locks are held meanwhile, so that nobody sends, installs or switches while it is measured. Nothing of it is left,
and the service runs again, however it ends: this process sees to it; a guard does, when this one is killed; and the
next command of the installer, or the boot, when both are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import itertools
import os
import pwd
from collections.abc import Callable, Iterator
from typing import Optional

from device_runtime.contract.decode import read_json
from device_runtime.contract.events import Notice, Step
from device_runtime.contract.manifest import RELEASE_SERVICE
from device_runtime.contract.service import ServiceSpec
from device_runtime.contract.session import Bench
from device_runtime.contract.status import BenchResult, InstallState, ServiceStatus
from device_runtime.errors import BadFileError, EdgeError, UnfitError
from device_runtime.install.footprint import Footprint, discard_stage
from device_runtime.install.guard import Guard
from device_runtime.install.harness import HarnessCall, HarnessError, run_harness
from device_runtime.install.host import Host
from device_runtime.install.lock import BRIEF_S, BusyError, locked, receiving
from device_runtime.install.pause import go_on, pause
from device_runtime.install.receive import Receiver
from device_runtime.install.recover import recover
from device_runtime.install.release import folder_damage, release_info
from device_runtime.install.service.account import ensure_account, existing_groups, find_account
from device_runtime.install.service.keeper import Account
from device_runtime.install.service.processes import BENCH_MARK, end_marked
from device_runtime.install.service.programs import SystemPrograms
from device_runtime.install.service.units import uses_camera
from device_runtime.install.site import Site, uninterrupted
from device_runtime.install.stage import Staged, stage_release

_NOBODY = "nobody"
_RUNS = ("running", "starting")
_LOOK_EVERY = 15
"""Seconds between two looks at a service that runs beside: asking systemd takes 10–30 ms of a core."""


def bench(site: Site, host: Host, receiver: Receiver, request: Bench) -> BenchResult:
    """Measure, and return what the release's own harness reports.

    Args:
        site: where.
        host: who asked; when they hang up, the measurement ends.
        receiver: has received the bundle, where a throw-away release is to be measured.
        request: what is wanted.

    Raises:
        BusyError: another installer is at work, or a release is on trial; or the service, which is to be stopped, fails
            again and again.
        UnfitError: nothing can be measured here, or the release's runtime does not know what is asked for.
        HostGoneError: the host hung up.
        EdgeError: what the harness said; or the service could not be started again.
        OSError: the disk refuses.
    """
    root = site.root
    if request.throw_away != receiver.throws_away:
        raise BadFileError("expected the index of the bundle that is to be measured, and nothing else, before it")
    if not root.path.is_dir():
        raise _nothing_installed(site)
    with contextlib.ExitStack() as stack:
        marks = Footprint.of(root.path, root.lock, *(() if request.throw_away else (root.incoming_lock,)))
        if not request.throw_away:
            stack.enter_context(receiving(site.fs, root, request.wait_s))
        stack.enter_context(locked(site.fs, root, max(request.wait_s, BRIEF_S)))
        stack.enter_context(_wiped(site, marks))
        state = recover(site, "keep")
        if state.trial is not None:
            raise BusyError(
                f"a release is on trial on {root.path}: nothing is measured until that is decided",
                hint="wait until it has finished, and try again; see: edgekit status",
            )
        release = stage_release(site, receiver.into, state) if request.throw_away else _current(site, state)
        footprints = (marks, receiver.footprint) if receiver.footprint else (marks,)
        return _measure(site, host, request, release, state, footprints)


def _measure(
    site: Site, host: Host, request: Bench, release: Staged, state: InstallState, footprints: tuple[Footprint, ...]
) -> BenchResult:
    service = site.application.status()
    runs = service is not None and service.state in _RUNS
    stops = runs and request.exclusive
    if stops and service is not None and service.state == "starting" and service.restarts:
        raise BusyError(
            f"the service failed and is started again and again ({service.restarts} times): it is not stopped now",
            hint="mend it first: edgekit logs; or leave out --exclusive",
        )
    info = release_info(site.root, state.wanted, "current") if runs and not stops else None
    beside = f"{info.name} {info.version}" if info else None
    account, groups = _whom(site, release, request)
    call = HarnessCall(
        site.root, release.folder, release.name, request.options, account, groups, request.expected_s, request.limit_s
    )

    def put_back() -> None:
        end_marked(site.root, name=BENCH_MARK)
        try:
            go_on(site)
        finally:
            discard_stage(site.fs, site.root)

    def put_back_alone() -> None:
        try:
            put_back()
        finally:
            for footprint in footprints:
                footprint.wipe(site.fs)

    guard = Guard(put_back_alone)
    try:
        if stops:
            site.events(Step("stop the service"))
            pause(site)
        site.events(Step(f"measure {release.name}" + (f", beside {beside}, which runs here" if beside else "")))
        report = run_harness(call, host, site.events, _watch(site, service if beside else None))
    except EdgeError as error:
        if error.code == "camera" and beside:
            error.hint = f"{beside} may have the camera: --exclusive stops it meanwhile\nor: --source synthetic:belt"
        raise
    finally:
        with uninterrupted():
            try:
                _put_back(site, put_back)
            finally:
                guard.dismiss()
    return BenchResult(report, release.name, beside)


def _put_back(site: Site, put_back: Callable[[], None]) -> None:
    """Leave everything as it was; raise EdgeError when the service cannot be started again."""
    try:
        put_back()
    except EdgeError as error:
        site.journal.write("resume-failed", None, str(error))
        raise EdgeError(
            f"the service was stopped to measure, and could not be started again: {error}",
            hint=f"the next command tries it once more: edgekit status\n{error.hint}".strip(),
        ) from error
    except OSError as error:
        site.events(Notice(f"tidying up is left to the next command: {error}", "warning"))


def _watch(site: Site, beside: Optional[ServiceStatus]) -> Callable[[], None]:
    """Return what looks, now and then, whether the service beside was given up: who decides waits for our lock."""
    if beside is None:
        return lambda: None
    seconds = itertools.count()

    def look() -> None:
        if next(seconds) % _LOOK_EVERY:
            return
        status = site.application.status()
        if status is not None and status.state == "failed":
            raise HarnessError(
                f"the service beside failed while it was measured: {status.detail or 'its keeper gave it up'}",
                hint="see: edgekit logs",
            )

    return look


def _current(site: Site, state: InstallState) -> Staged:
    if state.wanted is None:
        raise _nothing_installed(site)
    broken = folder_damage(site.root, state.wanted)
    info = release_info(site.root, state.wanted, "current")
    if broken or info is None:
        raise BadFileError(
            f"the current release is damaged: {broken}", hint="deploy it with --repair: damaged parts are replaced"
        )
    return Staged(site.root.release(state.wanted), f"{info.name} {info.version}")


def _nothing_installed(site: Site) -> UnfitError:
    return UnfitError(
        f"{site.root.path}: no release is installed that could be measured",
        hint="name a bundle, which leaves no trace there: edgekit bench BUNDLE --target …",
    )


def _whom(site: Site, release: Staged, request: Bench) -> tuple[Optional[Account], tuple[int, ...]]:
    """Return whom it runs as, and the groups for its camera: as the service, never as root, and no account is made."""
    if site.scope == "local" or os.geteuid() != 0:
        return None, ()
    service = read_json(ServiceSpec, release.folder / RELEASE_SERVICE)
    if "--source" in request.options[:-1]:
        source = request.options[request.options.index("--source") + 1]
        service = dataclasses.replace(service, source=source)
    groups = tuple(grp.getgrnam(name).gr_gid for name in existing_groups()) if uses_camera(service) else ()
    if find_account() is not None:
        return ensure_account(SystemPrograms()), groups
    try:
        entry = pwd.getpwnam(_NOBODY)
    except KeyError:
        raise UnfitError(
            "there is no account to measure as: a release never runs as root", hint="edgekit deploy makes one"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid), groups


@contextlib.contextmanager
def _wiped(site: Site, marks: Footprint) -> Iterator[None]:
    """Remove, at the end, files of locks that were not there; they are held."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            marks.wipe(site.fs)
