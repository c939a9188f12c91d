"""Settles what a killed or failed command left: one decision in the state, and the links made to follow it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Optional

from device_runtime.contract.events import Notice
from device_runtime.contract.status import InstallState, Trial
from device_runtime.errors import EdgeError
from device_runtime.files import refused
from device_runtime.install.activate import forget_return, point_previous
from device_runtime.install.collect import sweep
from device_runtime.install.follow import follow, follows, to_restart
from device_runtime.install.lock import locked
from device_runtime.install.pause import go_on, is_paused
from device_runtime.install.release import is_whole, read_release
from device_runtime.install.root import linked_release
from device_runtime.install.site import Site
from device_runtime.install.state import read_state, write_state
from device_runtime.install.trust import with_sequence

TrialPolicy = Literal["end", "keep", "count"]
MOST_BOOTS = 5
"""So many boots one trial may take. A release that takes the board down with it, by its load say, does not stay."""


def recover(site: Site, trial: TrialPolicy = "end") -> InstallState:
    """Bring a root into order; the lock is held. Doing it twice, or being killed in it, changes nothing.

    A trial that nobody finished is taken back to what was committed, without quarantine: nothing is known against the
    release. It goes on only when the machine was booted since it began.

    Args:
        site: where.
        trial: what becomes of a trial that goes on over a boot: ``end`` it, because something else is to be done,
            ``keep`` it as it is, or ``count`` this boot, which is about to start what is on trial.

    Raises:
        BadFileError: a newer installer was here.
        OSError: the disk refuses.
    """
    if is_paused(site.root) and trial != "count":
        _go_on(site)
    sweep(site.fs, site.root)
    found = read_state(site.root)
    state = _rebuilt(site) if found is None else found
    if state.trial is not None:
        state = dataclasses.replace(state, trial=_after(site, state.trial, trial))
    state = _without_missing(site, state)
    follows_it = follows(site, state)
    state = dataclasses.replace(state, restart=False) if follows_it else to_restart(site, state)
    refusal = None
    if state != found and (found is not None or _anything_there(site)):
        try:
            write_state(site.fs, site.root, state)
        except OSError as error:
            # A full disk must not keep what is committed from running; what was read leads to the same again.
            refusal = None if found and dataclasses.replace(found, restart=state.restart) == state else error
    if not follows_it or trial == "count":
        state = follow(site, state, boot=trial == "count")
    if refusal is not None:
        raise refusal
    if state.trial is None:
        forget_return(site.fs, site.root)
    point_previous(site.fs, site.root, state.fallback)
    return state


@contextlib.contextmanager
def settled(site: Site, wait_s: float, trial: TrialPolicy = "end") -> Iterator[InstallState]:
    """Hold the lock on a recovered root; what the disk refuses becomes an EdgeError.

    Raises:
        BusyError: another installer held the lock for all of ``wait_s``.
        BadFileError: a newer installer was here.
        EdgeError: the disk refuses.
    """
    try:
        with locked(site.fs, site.root, wait_s):
            yield recover(site, trial)
    except OSError as error:
        raise refused(error, Path(error.filename or site.root.path), "write") from error


def _go_on(site: Site) -> None:
    """Start what a measurement stopped that was killed, and everybody with it who was to start it."""
    try:
        go_on(site)
    except EdgeError as error:
        site.journal.write("resume-failed", None, str(error))
        site.events(Notice(f"the service, which a measurement stopped, was not started: {error}", "warning"))


def _after(site: Site, trial: Trial, policy: TrialPolicy) -> Optional[Trial]:
    """Return what becomes of a trial that was found.

    In the boot in which it began its installer must be dead, or it would hold the lock. In a later boot it goes on
    until ``settle`` has judged it; that the boot was counted tells it from the one in which the trial began.
    """
    goes_on = bool(site.boot and trial.boot) and (trial.boot != site.boot or trial.attempts > 1)
    if not goes_on or policy == "end" or not is_whole(site.root, trial.release):
        _tell(site, "trial-interrupted", trial.release, "an installation did not finish; it was taken back")
        return None
    if policy == "keep" or trial.boot == site.boot:
        return trial
    if trial.attempts >= MOST_BOOTS:
        message = f"its trial did not come to an end in {MOST_BOOTS} boots; it was taken back"
        _tell(site, "trial-attempts", trial.release, message)
        return None
    site.journal.write("trial-continued", trial.release)
    return dataclasses.replace(trial, attempts=trial.attempts + 1, boot=site.boot)


def _rebuilt(site: Site) -> InstallState:
    """Make a state from the links, when ``state.json`` is missing or was damaged."""
    current = _whole(site, linked_release(site.root.current))
    previous = _whole(site, linked_release(site.root.previous))
    if not _anything_there(site):
        return InstallState()
    _tell(site, "state-rebuilt", current, f"{site.root.state.name} was lost; it was made again from the links")
    # Whether ``current`` was on trial is not known any more, so it has to prove itself.
    if current and previous and not site.application.preflight(site.root.release(current)).ok:
        return _with_sequences(site, InstallState(committed=previous))
    return _with_sequences(site, InstallState(committed=current or previous, fallback=previous if current else None))


def _with_sequences(site: Site, state: InstallState) -> InstallState:
    """Return the state with the sequences of what is installed: the board does not go back further than that."""
    for release in (state.committed, state.fallback):
        if release is not None:
            state = with_sequence(state, read_release(site.root, release))
    return state


def _without_missing(site: Site, state: InstallState) -> InstallState:
    """Return the state without releases whose folders are gone or damaged."""
    fallback = _whole(site, state.fallback)
    if state.committed is not None and not is_whole(site.root, state.committed):
        _tell(site, "release-lost", state.committed, f"release {state.committed[:12]} is missing or damaged")
        return dataclasses.replace(state, committed=fallback, fallback=None)
    return dataclasses.replace(state, fallback=fallback)


def _whole(site: Site, release: Optional[str]) -> Optional[str]:
    return release if release and is_whole(site.root, release) else None


def _anything_there(site: Site) -> bool:
    return any(os.path.lexists(path) for path in (site.root.state, site.root.current, site.root.previous))


def _tell(site: Site, code: str, release: Optional[str], message: str) -> None:
    site.journal.write(code, release, message)
    site.events(Notice(message, "warning"))
