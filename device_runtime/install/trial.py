"""The trial of a release: preflight, switch, health, and then commit, or return with the reason in quarantine."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Optional

from device_runtime.contract.events import Notice, Step
from device_runtime.contract.status import BadRelease, InstallState, Trial
from device_runtime.errors import InstallError
from device_runtime.install.activate import forget_return, point_current, point_previous, prepare_return
from device_runtime.install.application import Verdict
from device_runtime.install.collect import collect, sweep
from device_runtime.install.follow import follow, to_restart
from device_runtime.install.journal import now
from device_runtime.install.release import read_release, release_info
from device_runtime.install.site import Site, uninterrupted
from device_runtime.install.state import write_state
from device_runtime.install.trust import with_sequence


class RolledBackError(InstallError):
    """A release failed its check or its trial; what ran before still runs. ``code`` is the check's own."""

    def __init__(self, verdict: Verdict, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = verdict.code or InstallError.code


def try_release(site: Site, state: InstallState, release: str) -> InstallState:
    """Put a release through its trial and commit it.

    A reboot in the middle does not end the trial where releases run by themselves: ``judge_trial`` goes on with it.

    Returns:
        The state with ``release`` committed.

    Raises:
        RolledBackError: it failed; it is quarantined, and what was committed before is current.
        Interrupted: somebody stopped it, and what was committed before is current; or the machine goes down.
        OSError: the disk refused; what was committed before is current.
        EdgeError: what keeps releases running refused; what was committed before is current.
    """
    site.events(Step("check the release before the switch"))
    verdict = site.application.preflight(site.root.release(release))
    if not verdict.ok:
        _quarantine(site, state, release, verdict)
        raise _failure(site, state, release, verdict, "is not switched to")
    trial = dataclasses.replace(state, trial=Trial(release, state.committed, now(), boot=site.boot))
    site.events(Step("switch, and check again"))
    try:
        prepare_return(site.fs, site.root, state.committed)
        write_state(site.fs, site.root, trial)
        site.journal.write("trial", release)
        point_current(site.fs, site.root, release)
        verdict = site.application.start(site.root.current)
    except BaseException:
        if site.boot and site.application.machine_stops():
            # A reboot ends whoever installs; the trial goes on after it.
            site.journal.write("trial-suspended", release)
        else:
            _give_back(site, state, release, None)
        raise
    if not verdict.ok:
        _give_back(site, state, release, verdict)
        raise _failure(site, state, release, verdict, "was rolled back")
    return _commit(site, state, release)


def judge_trial(site: Site, state: InstallState) -> InstallState:
    """Finish a trial that a reboot interrupted: what is on trial runs already, and is watched.

    Returns:
        The state with the release committed.

    Raises:
        RolledBackError: it failed; it is quarantined, and what was committed before is current.
        EdgeError: it could not be watched; the trial goes on.
    """
    if state.trial is None:
        return state
    release = state.trial.release
    before = dataclasses.replace(state, trial=None)
    site.events(Step("go on with the trial"))
    verdict = site.application.watch(site.root.current)
    if verdict.ok:
        return _commit(site, before, release)
    _give_back(site, before, release, verdict)
    raise _failure(site, before, release, verdict, "was rolled back")


def _commit(site: Site, state: InstallState, release: str) -> InstallState:
    bad = tuple(entry for entry in state.bad if entry.release != release)
    # Tried once more out of safe mode, it may be what was committed already.
    fallback = state.fallback if state.committed == release else state.committed
    decided = dataclasses.replace(state, committed=release, fallback=fallback, bad=bad, safe_mode=None, restart=False)
    committed = with_sequence(decided, read_release(site.root, release))
    with uninterrupted():
        try:
            write_state(site.fs, site.root, committed)
        except BaseException:
            _give_back(site, state, release, None)
            raise
        site.journal.write("committed", release)
        try:
            forget_return(site.fs, site.root)
            point_previous(site.fs, site.root, committed.fallback)
            collect(site.fs, site.root, committed)
        except OSError as error:
            # The release is committed and runs; the next command tidies up.
            site.events(Notice(f"tidying up is left to the next command: {error}", "warning"))
    return committed


def _quarantine(site: Site, state: InstallState, release: str, verdict: Verdict) -> None:
    """Remember that a release failed before it was switched to; what runs is not touched."""
    with uninterrupted():
        decided = with_bad(state, release, verdict)
        with contextlib.suppress(OSError):
            write_state(site.fs, site.root, decided)
        site.journal.write(verdict.code, release, verdict.reason)
        with contextlib.suppress(OSError):
            collect(site.fs, site.root, decided)


def _give_back(site: Site, state: InstallState, release: str, verdict: Optional[Verdict]) -> None:
    """Return to what is committed; with a verdict, the release is quarantined.

    The decision is written first: killed after it, recovery finishes. A disk that takes no decision any more must not
    keep the old release from running, so the link is turned back in any case.
    """
    with uninterrupted():
        decided = to_restart(site, state if verdict is None else with_bad(state, release, verdict))
        with contextlib.suppress(OSError):
            write_state(site.fs, site.root, decided)
        point_current(site.fs, site.root, decided.wanted)
        if verdict is None:
            site.journal.write("trial-abandoned", release)
        else:
            site.journal.write(verdict.code, release, verdict.reason)
        decided = follow(site, decided)
        with contextlib.suppress(OSError):
            forget_return(site.fs, site.root)
            sweep(site.fs, site.root)
            collect(site.fs, site.root, decided)


def with_bad(state: InstallState, release: str, verdict: Verdict) -> InstallState:
    """Return the state with a release in quarantine, and why."""
    others = tuple(entry for entry in state.bad if entry.release != release)
    return dataclasses.replace(state, bad=(*others, BadRelease(release, verdict.code, verdict.reason, now())))


def _failure(site: Site, state: InstallState, release: str, verdict: Verdict, what: str) -> RolledBackError:
    running = release_info(site.root, state.wanted, "current")
    still = f"{running.name} {running.version} still runs" if running else "nothing ran before, and nothing runs now"
    return RolledBackError(
        verdict,
        f"release {release[:12]} {what}: {verdict.reason}; {still}",
        hint="mend the cause and make a new bundle; to try this one once more: --retry",
    )
