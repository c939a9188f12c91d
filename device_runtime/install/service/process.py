"""A keeper for machines without systemd: a supervisor in a process of its own, which outlives the one who installs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Optional

import device_runtime
from device_runtime.contract.service import ServiceSpec
from device_runtime.errors import EdgeError
from device_runtime.files import refused
from device_runtime.install.fsops import FileSystem, make_folders, remove_tree
from device_runtime.install.launch import clean_environment
from device_runtime.install.lock import BusyError
from device_runtime.install.pack import own_digest
from device_runtime.install.root import Root
from device_runtime.install.service.account import find_account, give_folder
from device_runtime.install.service.keeper import Account, Kept
from device_runtime.install.service.logfile import last_lines, lines_from_now
from device_runtime.install.service.processes import boot_id, end_marked, hear_signals, send
from device_runtime.install.service.runfolder import Record, RunFolder
from device_runtime.install.service.supervisor import PATIENT, Commands, Supervisor, Timings

_TRY_S = 0.2
_FROM_SOURCES = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from device_runtime.install.__main__ import run; run()"
)


_QUIET: dict[str, Any] = {
    "cwd": "/",
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
    "start_new_session": True,
}


class ProcessKeeper:
    """Keeps an application running through a supervisor. After a boot nobody starts that: ``notices`` say who can."""

    kind: Literal["process"] = "process"

    def __init__(
        self,
        root: Root,
        fs: FileSystem,
        account: Optional[Callable[[], Account]] = None,
        python: str = sys.executable,
        timings: Timings = PATIENT,
    ) -> None:
        """Make one; it changes nothing.

        Args:
            root: what it keeps running.
            fs: makes the application's folders.
            account: gives whom releases run as, made where it is missing, when root keeps them; None: the one who
                installs.
            python: the interpreter of all that it starts.
            timings: how patient its supervisor is.
        """
        self._root = root
        self._fs = fs
        self._account = account
        self._python = python
        self._timings = timings
        self._folder = RunFolder(root)

    @property
    def account(self) -> Optional[Account]:
        """Whom releases run as, made where it is missing. Raises EdgeError."""
        return None if self._account is None else self._account()

    @property
    def pulse(self) -> Path:
        """Where the application writes its pulse."""
        return self._folder.pulse

    def prepare(self, service: ServiceSpec) -> None:
        """Make the folders that it and the application write in. Raises EdgeError."""
        del service  # a supervisor reads it from the release that it starts
        account = self.account
        try:
            make_folders(self._fs, self._folder.path)
            for folder in (self._root.data, self._folder.application):
                if account is None:
                    make_folders(self._fs, folder)
                else:
                    give_folder(self._fs, folder, account)
        except OSError as error:
            raise refused(error, Path(error.filename or self._folder.path), "make") from error

    def notices(self, service: ServiceSpec) -> tuple[str, ...]:
        """Return what a person should know: nothing starts the application with the machine."""
        del service
        return (f"this machine has no systemd to start the application when it boots; {self._at_boot()}",)

    def restart(self) -> None:
        """Start it anew, with all counters at 0. Raises EdgeError when no supervisor can be started."""
        account = self.account
        self.prepare(ServiceSpec())
        descriptor = self._end_supervisor()
        try:
            self._tell(Record("starting", account=account.name if account else ""))
            with contextlib.ExitStack() as stack:
                try:
                    log = stack.enter_context(self._folder.log.open("ab"))
                except OSError:
                    log = stack.enter_context(Path(os.devnull).open("ab"))
                done = subprocess.run(
                    [*self._words("supervise"), *self._options(account), "--lock-fd", str(descriptor)],
                    cwd="/",
                    env=clean_environment(os.environ),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(descriptor,),
                    start_new_session=True,
                    preexec_fn=hear_signals,
                    check=False,
                )
        except OSError as error:
            raise EdgeError(f"cannot start a supervisor: {error}") from error
        finally:
            os.close(descriptor)
        if done.returncode:
            raise EdgeError(f"cannot start a supervisor: exit {done.returncode}", hint=f"see: {self._folder.log}")

    def stop(self) -> None:
        """Stop it with all its processes, and wait for their end. Raises EdgeError when one does not end."""
        if not self._folder.path.is_dir():
            return
        descriptor = self._end_supervisor()
        try:
            last = self._folder.record()
            if last is not None and last.state in ("running", "starting"):
                self._tell(dataclasses.replace(last, state="stopped", pid=0))
        finally:
            os.close(descriptor)

    def look(self) -> Kept:
        """Tell what the supervisor told last; without one, nothing runs."""
        supervised = self._folder.supervised()
        record = self._folder.record()
        if record is None:
            return Kept("starting" if supervised else "stopped")
        if supervised or record.state in ("stopped", "failed"):
            return record.kept()
        if record.boot != boot_id():
            return Kept("stopped", detail=f"the machine was booted since; {self._at_boot()}")
        again = shlex.join(self._words("supervise"))
        return Kept("failed", 0, record.restarts, record.ended, f"its supervisor was killed; to start it: {again}")

    def machine_stops(self) -> bool:
        """Return False: nobody tells."""
        return False

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - as in Keeper
        """Yield lines of the log. Raises EdgeError when it cannot be read."""
        try:
            coming = lines_from_now(self._folder.log) if follow else iter(())
            yield from last_lines(self._folder.log, lines)
            yield from coming
        except OSError as error:
            raise refused(error, self._folder.log, "read") from error

    def last_words(self, lines: int) -> list[str]:
        """Return the last lines of the log, without their times. Raises EdgeError."""
        return [line.partition(" ")[2] for line in self.logs(lines, follow=False)]

    def remove(self) -> None:
        """Stop it, and remove what it wrote, but the data of the application. Raises EdgeError."""
        self.stop()
        try:
            remove_tree(self._fs, self._folder.path)
        except OSError as error:
            raise refused(error, Path(error.filename or self._folder.path), "remove") from error

    def _end_supervisor(self) -> int:
        """Return the descriptor of the lock, taken, with nothing of the application left. Raises EdgeError."""
        # To end, what hangs gets twice as long: once to abort, once to be asked.
        ask_until = time.monotonic() + 2 * self._timings.stop_s + 5
        asked = killed = False
        while True:
            try:
                descriptor = self._folder.take(_TRY_S)
                break
            except BusyError:
                pid, started = self._folder.holder()
            except OSError as error:
                raise refused(error, self._folder.lock, "write") from error
            if time.monotonic() > ask_until + 5:
                raise EdgeError(f"the supervisor of {self._root.path} does not end", hint=f"kill -9 {pid}")
            if not killed and time.monotonic() > ask_until:
                killed = send(pid, started, signal.SIGKILL)
            elif not asked:
                asked = send(pid, started, signal.SIGTERM)
        end_marked(self._root)
        return descriptor

    def _tell(self, record: Record) -> None:
        with contextlib.suppress(OSError):  # a full disk must not keep it from running
            self._folder.write(record)

    def _at_boot(self) -> str:
        return f"put this line into crontab -e: @reboot {shlex.join(self._words('supervise'))}"

    def _words(self, command: str) -> list[str]:
        return installer_words(self._root, command, "user" if self._account is None else "system", self._python)

    def _options(self, account: Optional[Account]) -> list[str]:
        """Return how the supervisor of this keeper differs from any."""
        words = [] if account is None else ["--account", account.name]
        for field in dataclasses.fields(Timings):
            value = getattr(self._timings, field.name)
            if value != field.default:
                words += [_option(field.name), str(value)]
        return words


def installer_words(root: Root, command: str, scope: str, python: str = sys.executable) -> list[str]:
    """Return the words that run a command of the installer which is kept in the root; of these sources, when it is."""
    if own_digest():
        words = [python, "-I", str(root.installer)]
    else:
        words = [python, "-I", "-c", _FROM_SOURCES, str(Path(device_runtime.__file__).parent.parent)]
    return [*words, command, "--root", str(root.path), "--scope", scope]


def supervise_options(parser: argparse.ArgumentParser) -> None:
    """Add what a keeper tells the supervisor that it starts; who starts one by hand needs none of it."""
    parser.add_argument("--account", help=argparse.SUPPRESS)
    parser.add_argument("--lock-fd", type=int, help=argparse.SUPPRESS)
    for field in dataclasses.fields(Timings):
        kind = int if isinstance(field.default, int) else float
        parser.add_argument(_option(field.name), type=kind, default=field.default, help=argparse.SUPPRESS)


def supervise(root: Root, options: argparse.Namespace) -> None:
    """Supervise what ``current`` names, here, or in the background for a keeper, which hands its lock on.

    Raises:
        BusyError: it is supervised already.
        EdgeError: the root cannot be written, or there is no account to run releases as.
    """
    folder = RunFolder(root)
    account = _account(folder, options.account)
    scope = "user" if account is None else "system"
    if options.lock_fd is None:
        _boot(root, scope)
        ProcessKeeper(root, FileSystem(), None if account is None else lambda: account).prepare(ServiceSpec())
        try:
            descriptor = folder.take()
        except OSError as error:
            raise refused(error, folder.lock, "write") from error
        subprocess.Popen(installer_words(root, "settle", scope), **_QUIET)
    else:
        descriptor = options.lock_fd
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument
        if os.fork():
            os._exit(0)  # who started us waits no longer
    folder.sign(descriptor)
    timings = Timings(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Timings)})
    commands = Commands(installer_words(root, "launch", scope), installer_words(root, "crashed", scope))
    Supervisor(folder, commands, account, timings).run()


def _boot(root: Root, scope: str) -> None:
    """Settle what a power cut left, as a machine with systemd does before it starts the application.

    What cannot be settled does not keep it from running, and is told by ``status``.
    """
    if RunFolder(root).supervised():
        raise BusyError(f"{root.path}: a supervisor runs already", hint="see: edgekit status")
    subprocess.run([*installer_words(root, "recover", scope), "--boot"], check=False, **_QUIET)


def _account(folder: RunFolder, name: Optional[str]) -> Optional[Account]:
    """Return whom releases run as: as told, or as the last time; None for a user's own. Raises EdgeError."""
    if os.geteuid() != 0:
        return None
    record = folder.record()
    name = name or (record.account if record else "")
    entry = find_account(name) if name else None
    if entry is None or entry.pw_uid == 0:
        raise EdgeError(
            f"{folder.root.path}: no account to run releases as: a release never runs as root",
            hint="edgekit deploy makes one",
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
