"""Stops the service for a measurement, and starts it again, whoever was killed in between."""

from __future__ import annotations

import os
from pathlib import Path

from device_runtime.files import refused
from device_runtime.install.footprint import PAUSED
from device_runtime.install.fsops import make_folders, remove_if_there, write_file
from device_runtime.install.root import Root
from device_runtime.install.site import Site


def is_paused(root: Root) -> bool:
    """Return whether a service was stopped, and not started again."""
    return os.path.lexists(root.bench / PAUSED)


def pause(site: Site) -> None:
    """Stop what runs, after a note that lets the next command start it: it may be all that is left of us.

    A power cut takes the note with it, or not: a boot starts the service anyway.

    Raises:
        EdgeError: the disk, or what keeps the service running, refuses.
    """
    try:
        make_folders(site.fs, site.root.bench)
        remove_if_there(site.fs, site.root.bench / PAUSED)
        write_file(site.fs, site.root.bench / PAUSED, b"")
    except OSError as error:
        raise refused(error, Path(error.filename or site.root.bench), "write") from error
    site.application.pause()


def go_on(site: Site) -> None:
    """Start again what ``pause`` stopped; where nothing is stopped, do nothing.

    Raises:
        EdgeError: it cannot be started; the note stays.
        OSError: the disk refuses.
    """
    if not is_paused(site.root):
        return
    site.application.go_on()
    remove_if_there(site.fs, site.root.bench / PAUSED)
    if not any(site.root.bench.iterdir()):
        site.fs.remove_folder(site.root.bench)
