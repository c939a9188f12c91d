"""Lets what runs follow what was decided: the link first, then the service; whoever is killed leaves a note."""

from __future__ import annotations

import contextlib
import dataclasses

from device_runtime.contract.events import Notice
from device_runtime.contract.status import InstallState
from device_runtime.errors import EdgeError
from device_runtime.install.activate import point_current
from device_runtime.install.root import linked_release
from device_runtime.install.site import Site
from device_runtime.install.state import write_state


def to_restart(site: Site, state: InstallState) -> InstallState:
    """Return a decision with the note that what runs has to be started anew, where anything runs by itself."""
    return dataclasses.replace(state, restart=site.scope != "local")


def follows(site: Site, state: InstallState) -> bool:
    """Return whether the link, and what runs, are what was decided; for what runs only where there is a note."""
    if linked_release(site.root.current) != state.wanted:
        return False
    return not state.restart or (state.wanted is not None and site.application.running() == state.wanted)


def follow(site: Site, state: InstallState, *, boot: bool = False) -> InstallState:
    """Let ``current`` name what was decided, and that run.

    Args:
        site: where.
        state: what was decided, and is written.
        boot: the machine starts it soon, and it is only prepared.

    Returns:
        The state without its note, once it is done.

    Raises:
        OSError: the disk refuses the link.
    """
    point_current(site.fs, site.root, state.wanted)
    try:
        if boot:
            site.application.prepare(site.root.current)
        else:
            site.application.resume(site.root.current)
    except EdgeError as error:
        site.journal.write("resume-failed", state.wanted, str(error))
        site.events(Notice(f"what is installed was not started: {error}", "warning"))
        return state
    return started(site, state)


def started(site: Site, state: InstallState) -> InstallState:
    """Take the note off the state: what was decided runs. A disk that refuses that keeps nobody."""
    if not state.restart:
        return state
    done = dataclasses.replace(state, restart=False)
    with contextlib.suppress(OSError):
        write_state(site.fs, site.root, done)
    return done
