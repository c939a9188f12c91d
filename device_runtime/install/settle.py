"""What the machine asks by itself: to finish a trial after a boot, and to decide about a release that crash-loops."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Optional

from device_runtime.contract.events import Notice
from device_runtime.contract.status import InstallResult, InstallState, Outcome, SafeMode
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.install.activate import point_current, point_previous
from device_runtime.install.application import Verdict
from device_runtime.install.follow import follow, started, to_restart
from device_runtime.install.journal import now
from device_runtime.install.recover import settled
from device_runtime.install.release import damage, result_of
from device_runtime.install.site import Site
from device_runtime.install.state import read_state, write_state
from device_runtime.install.trial import judge_trial, with_bad

PATIENCE_S = 600.0
"""So long another installer is waited for: it may be watching a release that starts slowly."""
PAUSE_S = 600.0
"""Between two tries of a release that there is no way back from. Who waits for a camera to be mended can wait so long,
and a card is not worn out by it."""
_LOOK_S = 5.0


def settle(site: Site, *, wait_s: float = 0.0) -> InstallResult:
    """Finish the trial that a reboot interrupted, after the service was started; without one, do nothing.

    Raises:
        RolledBackError: the release failed; what was committed before runs.
        BusyError: another installer is at work.
        EdgeError: it cannot be watched, or the disk refuses; the trial goes on.
    """
    if not site.root.path.is_dir():
        return InstallResult(Outcome.UNCHANGED)
    with settled(site, max(wait_s, PATIENCE_S), "keep") as state:
        if state.trial is None:
            return _result(site, state, Outcome.UNCHANGED)
        return _result(site, judge_trial(site, state), Outcome.INSTALLED)


def crashed(site: Site, *, wait_s: float = 0.0, sleep: Callable[[float], None] = time.sleep) -> InstallResult:
    """Decide about a service that its keeper gave up.

    A release on trial is judged. A committed one is quarantined, and the fallback runs in its place; when that fails as
    well, nothing does (safe mode). Where there is no fallback it is started again after a pause, for ever: a board that
    nobody comes to must not need anybody.

    Raises:
        RolledBackError: a release on trial failed; what was committed before runs.
        BusyError: another installer is at work.
        EdgeError: the disk refuses.
    """
    if not site.root.path.is_dir():
        return InstallResult(Outcome.UNCHANGED)
    with settled(site, max(wait_s, PATIENCE_S), "keep") as state:
        result = _decide(site, state, rested=False)
    if result is None:
        _rest(site, sleep)
        with settled(site, max(wait_s, PATIENCE_S), "keep") as state:
            result = _decide(site, state, rested=True)
    return result or InstallResult(Outcome.UNCHANGED)


def _decide(site: Site, state: InstallState, *, rested: bool) -> Optional[InstallResult]:
    """Decide once; None to try again after a pause."""
    if not _has_failed(site):
        return _result(site, state, Outcome.UNCHANGED)  # an installer has seen to it meanwhile, or somebody by hand
    if state.trial is not None:
        return _result(site, judge_trial(site, state), Outcome.INSTALLED)
    if state.committed is None or state.safe_mode is not None:
        return _result(site, state, Outcome.UNCHANGED)
    verdict = site.application.watch(site.root.current)
    if verdict.ok:
        return _result(site, state, Outcome.UNCHANGED)
    if state.fallback is not None and state.bad_release(state.fallback) is None:
        try:
            return _return(site, state, state.fallback, dataclasses.replace(verdict, code="crash-loop"))
        except OSError as error:
            # A release may crash just because the disk is full; then no decision can be taken either.
            site.events(Notice(f"no way back, the disk refuses: {error}", "warning"))
            state = read_state(site.root) or state
    if not rested:
        site.journal.write("crash-loop", state.committed, verdict.reason)
        site.events(Notice(f"there is nothing to return to; it is started again in {PAUSE_S:g} s", "warning"))
        return None
    site.journal.write("started-again", state.committed)
    return _result(site, follow(site, state), Outcome.UNCHANGED)


def _return(site: Site, state: InstallState, fallback: str, verdict: Verdict) -> InstallResult:
    """Let the fallback run in place of what is committed; when it cannot, nothing. Raises OSError before it is decided.

    It proved itself once: it is committed at once, and not tried, so that no kill can bring back what crashes. What
    crashed is kept on the disk: when the cause was elsewhere, ``rollback`` returns to it.
    """
    broken = damage(site.root, site.store, fallback)
    quarantined = with_bad(state, state.committed or "", verdict)
    if broken:
        reason = f"{verdict.reason}; the release before is damaged: {broken[0]}"
        return _stop(site, quarantined, SafeMode("fallback-damaged", reason, now()))
    decided = to_restart(site, dataclasses.replace(quarantined, committed=fallback, fallback=state.committed))
    write_state(site.fs, site.root, decided)
    site.journal.write(verdict.code, state.committed, verdict.reason)
    point_current(site.fs, site.root, fallback)
    try:
        again = site.application.start(site.root.current)
    except Interrupted:
        raise  # it is committed, and the note in the state lets the next one start it
    except EdgeError as error:
        again = Verdict(ok=False, code="start-failed", reason=str(error))
    if not again.ok:
        reason = f"{verdict.reason}; the release before fails, too: {again.reason}"
        site.journal.write(again.code, fallback, again.reason)
        return _stop(site, with_bad(decided, fallback, again), SafeMode("both-failed", reason, now()))
    site.journal.write("returned", fallback)
    decided = started(site, decided)
    point_previous(site.fs, site.root, decided.fallback)
    return _result(site, decided, Outcome.RETURNED)


def _stop(site: Site, state: InstallState, safe_mode: SafeMode) -> InstallResult:
    """Let nothing run. What is committed stays named, so that its parts stay on the disk."""
    decided = to_restart(site, dataclasses.replace(state, safe_mode=safe_mode))
    write_state(site.fs, site.root, decided)
    site.journal.write("safe-mode", state.committed, safe_mode.reason)
    site.events(Notice(f"nothing runs any more: {safe_mode.reason}", "warning"))
    return _result(site, follow(site, decided), Outcome.RETURNED)


def _rest(site: Site, sleep: Callable[[float], None]) -> None:
    """Wait, as long as it is needed: while this process waits, its keeper does not call for another one."""
    for _ in range(round(PAUSE_S / _LOOK_S)):
        sleep(_LOOK_S)
        if not _has_failed(site):
            return


def _has_failed(site: Site) -> bool:
    status = site.application.status()
    return status is not None and status.state == "failed"


def _result(site: Site, state: InstallState, outcome: Outcome) -> InstallResult:
    return result_of(site.root, outcome, state.wanted, state.fallback)
