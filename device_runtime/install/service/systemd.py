"""Keeps releases running with systemd: the machine's own, or that of a user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Optional

from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import EdgeError, Interrupted, UnfitError
from device_runtime.files import refused
from device_runtime.install.fsops import FileSystem, make_folders, remove_if_there, replace_file
from device_runtime.install.launch import NOTHING_TO_RUN
from device_runtime.install.root import Root
from device_runtime.install.service.account import ensure_account, existing_groups, find_account, give_folder
from device_runtime.install.service.keeper import Account, Kept
from device_runtime.install.service.programs import Completed, Programs, SystemPrograms
from device_runtime.install.service.units import (
    CRASHED,
    ENABLED,
    PULSE_NAME,
    RECOVER,
    RUNTIME_FOLDER,
    SERVICE,
    SETTLE,
    Setting,
    units,
)
from device_runtime.signals import signal_name

PYTHON = "/usr/bin/python3"
_ALL = (SERVICE, RECOVER, SETTLE, CRASHED)
_SHOWN = "LoadState,ActiveState,SubState,Job,MainPID,NRestarts,Result,ExecMainCode,ExecMainStatus,StatusText"
_EXITED = "1"
"""CLD_EXITED of sigaction(2), as ExecMainCode has it; others are ends by a signal."""
_ENDS = {"watchdog": "watchdog", "timeout": "start-timeout", "oom-kill": "out-of-memory"}
_RUNNING_MANAGER = ("running", "degraded", "starting", "initializing", "maintenance", "stopping")
"""What ``systemctl is-system-running`` says where there is one; else ``offline``, ``unknown``, or that it failed."""


@dataclass(frozen=True)
class Surroundings:
    """Where a keeper finds what it needs on this machine.

    ``units`` is the folder for units, ``runtime`` that of files that live until the machine is off: /run, or a user's
    own. ``lingering`` has a file for each user whose services run while nobody is logged in (logind's own folder);
    ``controllers`` lists what control groups can limit here (cgroups(7)).
    """

    programs: Programs
    units: Path
    runtime: Path
    find: Callable[[], Optional[pwd.struct_passwd]] = find_account
    lingering: Path = Path("/var/lib/systemd/linger")
    controllers: Path = Path("/sys/fs/cgroup/cgroup.controllers")
    groups: tuple[str, ...] = field(default_factory=existing_groups)


def surroundings(scope: Literal["system", "user"], environment: Optional[Mapping[str, str]] = None) -> Surroundings:
    """Return those of this machine, for the system or for the user who runs this."""
    environment = os.environ if environment is None else environment
    if scope == "system":
        return Surroundings(SystemPrograms(), Path("/etc/systemd/system"), Path("/run"))
    # Where a user's systemd listens. A command over SSH without PAM has no XDG_RUNTIME_DIR that would tell it.
    runtime = Path(f"/run/user/{os.getuid()}")
    if not runtime.is_dir():
        runtime = Path(environment.get("XDG_RUNTIME_DIR") or runtime)
    settings = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Surroundings(SystemPrograms(runtime), settings / "systemd" / "user", runtime)


def has_systemd(scope: Literal["system", "user"], programs: Optional[Programs] = None) -> bool:
    """Return whether a systemd runs that would take services: the machine's, or that of the user who runs this."""
    programs = programs or surroundings(scope).programs
    # It fails with "degraded", too: what it says counts.
    said = programs.run(["systemctl", *_to(scope), "is-system-running"]).out.strip()
    return said in _RUNNING_MANAGER


class SystemdKeeper:
    """A ``Keeper`` by systemd.

    Names of units are the machine's, or the user's: each has one application, and the root that was prepared last.
    """

    def __init__(
        self,
        root: Root,
        fs: FileSystem,
        scope: Literal["system", "user"],
        python: str = PYTHON,
        around: Optional[Surroundings] = None,
    ) -> None:
        """Keep what is in ``root`` with the system's or the user's systemd.

        Args:
            root: where releases are.
            fs: the way to change files.
            scope: whose systemd.
            python: the Python that starts the installer, which starts releases.
            around: what is around; None: this machine.
        """
        self._root = root
        self._fs = fs
        self._scope = scope
        self._python = python
        self._around = around or surroundings(scope)

    @property
    def kind(self) -> Literal["systemd", "systemd-user"]:
        """What it is."""
        return "systemd" if self._scope == "system" else "systemd-user"

    @property
    def account(self) -> Optional[Account]:
        """The account ``edgekit``, made where it is missing; None: a user's are that user's. Raises EdgeError."""
        if self._scope == "user":
            return None
        return ensure_account(self._around.programs, self._around.find)

    @property
    def pulse(self) -> Path:
        """Where the unit tells the application to write its pulse."""
        return self._around.runtime / RUNTIME_FOLDER / PULSE_NAME

    def prepare(self, service: ServiceSpec) -> None:
        """Write the units that differ from what is there, let systemd read them, and let them start with the machine.

        Raises:
            UnfitError: the account is not one for releases.
            UsageError, BadFileError: a path cannot be said in a unit.
            EdgeError: the disk or systemd refuses.
        """
        account = self.account
        setting = Setting(self._root.path, self._python, self._scope, account, self._around.groups)
        texts = units(service, setting)
        try:
            if account is None:
                make_folders(self._fs, self._root.data)
            else:
                give_folder(self._fs, self._root.data, account)
            make_folders(self._fs, self._around.units)
            written = [name for name, text in texts.items() if self._write(name, text)]
        except OSError as error:
            raise refused(error, Path(error.filename or self._around.units), "write") from error
        found = self._show("NeedDaemonReload,LoadState,UnitFileState", *texts)
        # A killed run may have written them, and told nobody.
        if written or any(unit.get("NeedDaemonReload") != "no" or unit.get("LoadState") != "loaded" for unit in found):
            self._do("daemon-reload")
        if any(unit.get("UnitFileState") != "enabled" for unit in found[: len(ENABLED)]):
            self._do("enable", *ENABLED)

    def restart(self) -> None:
        """Start it anew; systemd forgets how often it failed. Raises EdgeError."""
        self._systemctl("reset-failed", SERVICE)  # fails where there is nothing to forget
        self._do("restart", "--no-block", SERVICE)

    def stop(self) -> None:
        """Stop it, and wait for its end. Raises EdgeError."""
        if (self._around.units / SERVICE).exists():
            self._do("stop", SERVICE)

    def look(self) -> Kept:
        """Tell what systemd knows. Raises EdgeError when it does not answer."""
        return kept(self._show(_SHOWN, SERVICE)[0])

    def machine_stops(self) -> bool:
        """Return whether the machine's systemd stops everything; one that no longer answers is taken to run."""
        # Of the machine also for a user's services: a logout is no boot, after which a trial would go on.
        return self._around.programs.run(["systemctl", "is-system-running"]).out.strip() == "stopping"

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - as in Keeper
        """Yield lines of the journal. Raises EdgeError when it cannot be read."""
        words = ["journalctl", "--user-unit" if self._scope == "user" else "--unit", SERVICE]
        words += ["--output=short-iso", "--no-pager", "--quiet", f"--lines={lines}"]
        try:
            yield from self._around.programs.lines([*words, "--follow"] if follow else words)
        except Interrupted:
            raise
        except EdgeError as error:
            raise EdgeError(
                f"cannot read the journal: {error}", hint="sudo usermod -aG systemd-journal $USER"
            ) from error

    def last_words(self, lines: int) -> list[str]:
        """Return what its last process wrote, without times and without systemd's own lines. Raises EdgeError."""
        unit = f"{'_SYSTEMD_USER_UNIT' if self._scope == 'user' else '_SYSTEMD_UNIT'}={SERVICE}"
        # What the release before it wrote is no reason of this one.
        started = self._show("InvocationID", SERVICE)[0].get("InvocationID")
        words = ["journalctl", unit, *([f"_SYSTEMD_INVOCATION_ID={started}"] if started else [])]
        return list(self._around.programs.lines([*words, "--output=cat", "--no-pager", "--quiet", f"--lines={lines}"]))

    def remove(self) -> None:
        """Stop it and remove the units. The account stays: files of its own may be anywhere. Raises EdgeError."""
        names = [name for name in _ALL if os.path.lexists(self._around.units / name)]
        if not names:
            return
        self.stop()
        # Not --now: it may be the unit for recovery that goes on with a removal.
        self._do("disable", *names)
        try:
            # The service is the last: a killed run begins anew with what is left.
            for name in reversed(names):
                remove_if_there(self._fs, self._around.units / name)
        except OSError as error:
            raise refused(error, Path(error.filename or self._around.units), "remove") from error
        self._do("daemon-reload")
        self._systemctl("reset-failed", *names)

    def notices(self, service: ServiceSpec) -> tuple[str, ...]:
        """Return what a person should know of this machine: what is asked for and does not hold here."""
        told = []
        if self._scope == "user":
            name = pwd.getpwuid(os.getuid()).pw_name
            if not (self._around.lingering / name).exists():
                told.append(
                    f"the application ends when {name} logs out, and does not start with the machine; "
                    f"let it: sudo loginctl enable-linger {name}"
                )
        if service.memory_mb is not None and not self._limits_memory():
            told.append(
                f"memory_mb = {service.memory_mb} does not hold: this kernel limits no memory; "
                "add cgroup_enable=memory to its command line (/boot/firmware/cmdline.txt) and reboot"
            )
        return tuple(told)

    def _limits_memory(self) -> bool:
        try:
            return "memory" in self._around.controllers.read_text(encoding="ascii", errors="replace").split()
        except OSError:
            return False

    def _write(self, name: str, text: str) -> bool:
        """Write a unit where it differs, and return whether it did. Raises OSError."""
        path = self._around.units / name
        try:
            if not path.is_symlink() and path.read_bytes() == text.encode():
                return False
        except FileNotFoundError:
            pass
        replace_file(self._fs, path, text.encode())
        return True

    def _show(self, properties: str, *names: str) -> list[dict[str, str]]:
        """Return the properties of units, in the units' order. Raises EdgeError."""
        done = self._do("show", f"--property={properties}", *names)
        found = [properties_of(block) for block in done.out.strip().split("\n\n")]
        if len(found) != len(names) or not all(found):
            raise EdgeError(f"systemctl show: expected {len(names)} units, got {done.out[:200]!r}")
        return found

    def _do(self, *words: str) -> Completed:
        done = self._systemctl(*words)
        if done.code != 0:
            if not has_systemd(self._scope, self._around.programs):
                raise UnfitError(f"no systemd answers: {done.said}", hint=self._other_way())
            again = f"{'' if self._scope == 'user' else 'sudo '}systemctl {' '.join(_to(self._scope))}"
            raise EdgeError(f"systemctl {' '.join(words)}: {done.said}", hint=f"see: {again.rstrip()} status {SERVICE}")
        return done

    def _other_way(self) -> str:
        return "log in once more, or see: loginctl user-status" if self._scope == "user" else "see: systemctl status"

    def _systemctl(self, *words: str) -> Completed:
        return self._around.programs.run(["systemctl", *_to(self._scope), *words])


def properties_of(text: str) -> dict[str, str]:
    """Return what ``systemctl show`` says of one unit; a line without a name goes on with the one before."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        key, is_property, value = line.partition("=")
        if is_property and key.isalnum():
            name = key
            found[name] = value
        elif name:
            found[name] += f"\n{line}"
    return found


def kept(shown: Mapping[str, str]) -> Kept:
    """Return what systemd's properties of the service mean."""
    if shown.get("LoadState") in ("not-found", "masked"):
        return Kept("stopped", detail=f"{SERVICE}: {shown['LoadState']}")
    pid, restarts = _number(shown.get("MainPID")), _number(shown.get("NRestarts"))
    ended = _ended(shown)
    return Kept(_state(shown, ended), pid, restarts, ended, _detail(shown, ended))


def _state(shown: Mapping[str, str], ended: str) -> Literal["running", "starting", "stopped", "failed"]:
    active = shown.get("ActiveState", "")
    # A job that waits: what is seen now is what ran before.
    if active == "activating" or (shown.get("Job", "0") not in ("", "0") and active != "deactivating"):
        return "starting"
    if active in ("active", "reloading"):
        return "running"
    if active == "deactivating":  # on its way to the next start, or to a stop that was asked for
        return "starting" if ended or shown.get("Job", "0") not in ("", "0") else "stopped"
    if active == "failed" and ended != f"exit {NOTHING_TO_RUN}" and not _refused(shown):
        return "failed"
    return "stopped"


def _refused(shown: Mapping[str, str]) -> bool:
    """Return whether systemd refused a start by hand, because there were too many: nothing is known against a release.

    The limit alone is a result only where the last run ended well; a crash loop keeps its own (systemd 252).
    """
    return shown.get("Result") == "start-limit-hit" and _number(shown.get("NRestarts")) == 0


def _ended(shown: Mapping[str, str]) -> str:
    """Return how it last ended; systemd forgets it with the next start."""
    result = shown.get("Result", "success")
    if result == "success" or _refused(shown):
        return ""
    if result in _ENDS:
        return _ENDS[result]
    status = _number(shown.get("ExecMainStatus"))
    if shown.get("ExecMainCode", "0") == _EXITED:
        return f"exit {status}"
    return signal_name(status) if status else result


def _detail(shown: Mapping[str, str], ended: str) -> str:
    """Return what the application said last, and systemd's own word where it failed."""
    said, result = shown.get("StatusText", ""), shown.get("Result", "success")
    if ended == f"exit {NOTHING_TO_RUN}":
        return said or "nothing to run"
    if _refused(shown):
        return "it was started by hand too often; to start it: systemctl reset-failed edgekit, and start it then"
    return "; ".join(text for text in (said, "" if result == "success" else f"systemd: {result}") if text)


def _number(text: Optional[str]) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _to(scope: Literal["system", "user"]) -> list[str]:
    return ["--user"] if scope == "user" else []
