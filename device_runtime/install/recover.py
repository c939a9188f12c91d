"""Settles what a killed or failed command left: one decision in the state, and the links made to follow it."""

from __future__ import annotations

import dataclasses
import os
from typing import Optional

from device_runtime.contract.events import Notice
from device_runtime.contract.status import InstallState
from device_runtime.install.activate import forget_return, point_current, point_previous
from device_runtime.install.collect import sweep
from device_runtime.install.release import is_whole, read_release
from device_runtime.install.root import linked_release
from device_runtime.install.site import Site
from device_runtime.install.state import read_state, write_state
from device_runtime.install.trust import with_sequence


def recover(site: Site) -> InstallState:
    """Bring a root into order; the lock is held. Doing it twice, or being killed in it, changes nothing.

    A trial that nobody finished is taken back to what was committed, without quarantine: nothing is known against the
    release.

    Raises:
        BadFileError: a newer installer was here.
        OSError: the disk refuses.
    """
    sweep(site.fs, site.root)
    found = read_state(site.root)
    state = _rebuilt(site) if found is None else found
    if state.trial is not None:
        _tell(site, "trial-interrupted", state.trial.release, "an installation did not finish; it was taken back")
        state = dataclasses.replace(state, trial=None)
    state = _without_missing(site, state)
    refusal = None
    if state != found and (found is not None or _anything_there(site)):
        try:
            write_state(site.fs, site.root, state)
        except OSError as error:
            # A full disk must not keep what is committed from running; what was read leads to the same again.
            refusal = error
    if linked_release(site.root.current) != state.committed:
        point_current(site.fs, site.root, state.committed)
        site.application.resume(site.root.current)
    if refusal is not None:
        raise refusal
    forget_return(site.fs, site.root)
    point_previous(site.fs, site.root, state.fallback)
    return state


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
