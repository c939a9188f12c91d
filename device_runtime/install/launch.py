"""Starts what ``current`` names: one release from beginning to end, in an environment of its own, never as root."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from device_runtime.contract.pulse import PULSE_FILE
from device_runtime.contract.status import Scope
from device_runtime.errors import BadFileError, EdgeError
from device_runtime.install.lock import hold
from device_runtime.install.release import import_paths
from device_runtime.install.root import Root, linked_release
from device_runtime.install.state import read_state

NOTHING_TO_RUN = 78
"""EX_CONFIG of sysexits.h: starting it again changes nothing, so a keeper must not."""

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
# QEMU_: which processor qemu-user(1) shows to what runs on an emulated board.
_KEPT_PREFIXES = ("EDGEKIT_", "QEMU_")
# "-m" would look for modules in the working folder first, where the application writes; "-P" is of Python 3.11, and
# before that runpy itself is looked for.
_RUN = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module('device_runtime', run_name='__main__', alter_sys=True)"
)


class NothingToRunError(EdgeError):
    """There is no release to run here, on purpose or not yet, or not by this user."""

    code = "nothing-to-run"
    exit_code = NOTHING_TO_RUN


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return of an environment what concerns the application, and not the login that it happens to be."""
    kept = {name: value for name, value in given.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {"PATH": STANDARD_PATH, **kept, "LANG": "C.UTF-8"}


def release_environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a release's processes: it finds its own packages, then the system's, and no others.

    Raises:
        OSError, UnicodeDecodeError: the release cannot be read.
    """
    return {
        **clean_environment(given),
        "PYTHONPATH": os.pathsep.join(import_paths(folder)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def release_command(words: Sequence[str], python: str = sys.executable) -> list[str]:
    """Return the command line of ``device_runtime WORDS`` in a ``release_environment``."""
    return [python, "-c", _RUN, *words]


def launch(root: Root, scope: Scope, given: Mapping[str, str]) -> NoReturn:
    """Become the application of the release that ``current`` names now, whatever it names later.

    Raises:
        NothingToRunError: there is none, or this is root.
        EdgeError: it cannot be read or started.
    """
    if os.geteuid() == 0:
        raise NothingToRunError(
            f"{root.path}: a release never runs as root", hint="let its keeper start it: edgekit deploy"
        )
    release = _release_to_run(root)
    folder = root.release(release)
    try:
        os.set_inheritable(hold(folder), True)  # noqa: FBT003 - its only argument; held after execve(2), too
        environment = {**release_environment(folder, given), **_of_manager(given)}
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeError(f"cannot read release {release[:12]}: {error}", hint="deploy its bundle again") from error
    environment.setdefault(PULSE_FILE, str(root.path / "run" / "pulse.json"))
    _enter(root)
    # What ignores signals hands that on.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    words = release_command(["run", "--release", str(folder), "--service"])
    try:
        os.execve(words[0], words, environment)  # noqa: S606 - there is no shell in it
    except OSError as error:
        raise EdgeError(f"cannot start {words[0]} ({scope}): {error.strerror}") from error


def _release_to_run(root: Root) -> str:
    try:
        state = read_state(root)
    except BadFileError:
        state = None  # a newer installer's; its link is as good as any
    if state is not None and state.safe_mode is not None and state.trial is None:
        raise NothingToRunError(f"{root.path}: nothing runs, on purpose: {state.safe_mode.reason}")
    release = linked_release(root.current)
    if release is None:
        raise NothingToRunError(f"{root.path}: no release is installed", hint="edgekit deploy")
    return release


def _of_manager(given: Mapping[str, str]) -> dict[str, str]:
    """Return what systemd gave, with what an administrator had it give: ``systemctl edit`` is there for that."""
    if "NOTIFY_SOCKET" not in given:
        return {name: given[name] for name in ("JOURNAL_STREAM",) if name in given}
    ours = ("PATH", "LANG")
    return {name: value for name, value in given.items() if name not in ours and not name.startswith("PYTHON")}


def _enter(root: Root) -> None:
    """Go where the application writes; where there is no such folder, a relative path of its own fails, and says so."""
    for folder in (root.data, root.path, Path("/")):
        try:
            if folder == root.data:
                folder.mkdir(exist_ok=True)
            os.chdir(folder)
        except OSError:
            continue
        return


def run_launch(root: Root, scope: Scope) -> NoReturn:
    """Launch, and say on stderr why not, as a service's journal has it; end with ``NOTHING_TO_RUN``, or fail."""
    try:
        launch(root, scope, os.environ)
    except EdgeError as error:
        hint = f" ({error.hint})" if error.hint else ""
        sys.stderr.write(f"{error}{hint}\n")
        sys.exit(error.exit_code)
