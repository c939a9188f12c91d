"""A board on which releases run by themselves: started by a keeper, and watched until they have proven themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

from device_runtime.contract.decode import read_json
from device_runtime.contract.events import Events, Notice, Step, silent
from device_runtime.contract.manifest import RELEASE_SERVICE
from device_runtime.contract.service import ServiceSpec
from device_runtime.contract.status import ServiceStatus
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.install.application import CHECK_TIMEOUT_S, Verdict, check_release, run_program
from device_runtime.install.fsops import FileSystem, make_folders, remove_if_there, write_file
from device_runtime.install.launch import clean_environment
from device_runtime.install.root import TEMPORARY, Root, linked_release
from device_runtime.install.service.health import Sample, Start, Watch
from device_runtime.install.service.keeper import Keeper, Kept
from device_runtime.install.service.pulse import read_pulse

_ENDING_SOURCES = ("file:", "dir:")
"""Of the others none ends by itself: a release that does has failed."""
_TOLD_LINES = 5
_TOLD_LETTERS = 500
"""As of the words of a check: a reason goes into the state and the journal."""
_LOG_LINES = 1000
_LOG_BYTES = 262144
_PRIVATE = 0o600
"""An application's log may tell what its camera sees."""


@dataclass(frozen=True)
class Timing:
    """How long a release's check and the owner's hook may take, how often is looked, and by which clock."""

    check_timeout_s: float = CHECK_TIMEOUT_S
    hook_timeout_s: float = 30.0
    poll_s: float = 0.25
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class ServiceApplication:
    """What runs from ``current`` as a service. It implements ``Application``."""

    def __init__(
        self, root: Root, keeper: Keeper, fs: FileSystem, events: Events = silent, timing: Optional[Timing] = None
    ) -> None:
        """Run what is in ``root`` through ``keeper``.

        Args:
            root: where releases are.
            keeper: keeps them running.
            fs: how files are changed.
            events: hears what is waited for.
            timing: how long things may take.
        """
        self._root = root
        self._keeper = keeper
        self._fs = fs
        self._events = events
        self._timing = timing or Timing()

    def preflight(self, release: Path) -> Verdict:
        """Run the release's check, as the account that releases run as.

        Raises:
            EdgeError: it cannot be run as that, or the owner's hook may not be trusted; nothing is known against it.
        """
        broken = _hook_trouble(self._root.health_hook)
        if broken:
            raise EdgeError(f"{self._root.health_hook}: {broken}", hint=f"chmod 755 {self._root.health_hook}")
        return self._unless_machine_stops(check_release(release, self._timing.check_timeout_s, self._keeper.account))

    def start(self, current: Path) -> Verdict:
        """Start what ``current`` points to anew, and watch it.

        Raises:
            Interrupted: the machine goes down.
            EdgeError: its keeper cannot.
        """
        service = _settings(current)
        if isinstance(service, Verdict):
            return service
        self._keeper.prepare(service)
        for text in self._keeper.notices(service):
            self._events(Notice(text, "warning"))
        before = self._keeper.look()
        started_s = self._timing.clock()
        self._keeper.restart()
        return self._watch(current, service, started_s, before)

    def watch(self, current: Path) -> Verdict:
        """Watch what ``current`` points to, which runs already. Raises as ``start`` does."""
        service = _settings(current)
        if isinstance(service, Verdict):
            return service
        return self._watch(current, service, self._timing.clock(), None)

    def prepare(self, current: Path) -> None:
        """Write what starts the release at boot, as its own settings say. Raises EdgeError."""
        if linked_release(current) is not None:
            self._keeper.prepare(read_json(ServiceSpec, current / RELEASE_SERVICE))

    def resume(self, current: Path) -> None:
        """Start what ``current`` points to anew, as its settings say; stop where there is none. Raises EdgeError."""
        if linked_release(current) is None:
            self._keeper.stop()
            return
        try:
            self.prepare(current)
        except Interrupted:
            raise
        except EdgeError as error:
            # Better with another's settings than not at all.
            self._events(Notice(f"the service keeps the settings that it has: {error}", "warning"))
        self._keeper.restart()

    def pause(self) -> None:
        """Let the keeper stop it. Raises EdgeError."""
        self._keeper.stop()

    def go_on(self) -> None:
        """Let the keeper start it anew, with all counters at 0: to stop it was no failure. Raises EdgeError."""
        self._keeper.restart()

    def running(self) -> Optional[str]:
        """Return the id of the release that runs, as it says itself."""
        try:
            status = self.status()
        except Interrupted:
            raise
        except EdgeError:
            return None
        return status.pulse.release if status.pulse else None

    def status(self) -> ServiceStatus:
        """Tell what the keeper says, and what the process itself says."""
        try:
            kept = self._keeper.look()
        except Interrupted:
            raise
        except EdgeError as error:
            return ServiceStatus(self._keeper.kind, "stopped", detail=f"it cannot be told: {error}")
        pulse = read_pulse(self._keeper.pulse)
        if pulse is not None and (kept.pid == 0 or pulse.pid != kept.pid):
            pulse = None  # left by one that was killed
        return ServiceStatus(self._keeper.kind, kept.state, kept.restarts, _detail(kept), pulse)

    def machine_stops(self) -> bool:
        """Return whether the machine is going down, as far as its keeper knows."""
        return self._keeper.machine_stops()

    def logs(self, lines: int, follow: bool) -> Iterator[str]:  # noqa: FBT001 - a word of the protocol
        """Yield the last ``lines`` of its log, and with ``follow`` those that come, without end. Raises EdgeError."""
        return self._keeper.logs(lines, follow)

    def remove(self) -> None:
        """Stop it, and take away what kept it running. Raises EdgeError."""
        self._keeper.remove()

    def _watch(self, current: Path, service: ServiceSpec, started_s: float, before: Optional[Kept]) -> Verdict:
        release = linked_release(current)
        if release is None:
            return Verdict(ok=False, code="bad-release", reason=f"{current} names no release")
        health = service.health
        self._events(
            Step(f"wait up to {health.start_s:g} s for its first prediction, and watch it {health.watch_s:g} s")
        )
        ends = service.source.startswith(_ENDING_SOURCES)
        verdict = self._look(Watch(Start(release, started_s, before, ends), health))
        if verdict.ok:
            verdict = self._ask_hook(release)
        verdict = self._unless_machine_stops(verdict)
        return verdict if verdict.ok else self._with_log(release, verdict)

    def _unless_machine_stops(self, verdict: Verdict) -> Verdict:
        """Return the verdict; raise Interrupted for a bad one when everything ends, checks and services among it."""
        if not verdict.ok and self.machine_stops():
            raise Interrupted("the machine is going down, and what runs ends with it; nothing is decided")
        return verdict

    def _look(self, watch: Watch) -> Verdict:
        while True:
            kept = self._keeper.look()
            verdict = watch.look(Sample(self._timing.clock(), kept, read_pulse(self._keeper.pulse)))
            if verdict is not None:
                return verdict
            self._timing.sleep(self._timing.poll_s)

    def _ask_hook(self, release: str) -> Verdict:
        """Let the owner's own program have the last word, where there is one."""
        hook = self._root.health_hook
        if not os.path.lexists(hook):
            return Verdict(ok=True)
        broken = _hook_trouble(hook)
        if broken:
            return Verdict(ok=False, code="hook", reason=f"{hook}: {broken}")
        self._events(Step("ask the owner's health hook"))
        folder, most_s = self._root.release(release), self._timing.hook_timeout_s
        try:
            ended = run_program(
                [str(hook), str(folder)], folder, clean_environment(os.environ), most_s, self._keeper.account
            )
        except Interrupted:
            raise
        except (EdgeError, OSError) as error:
            return Verdict(ok=False, code="hook", reason=f"{hook} cannot be run: {error}")
        if ended.code is None:
            return Verdict(ok=False, code="hook", reason=f"{hook} did not end within {most_s:g} s{ended.last_words}")
        if ended.code:
            return Verdict(ok=False, code="hook", reason=f"{hook} ended with {ended.code}{ended.last_words}")
        return Verdict(ok=True)

    def _with_log(self, release: str, verdict: Verdict) -> Verdict:
        """Keep the log of a release that failed, and let its last lines be part of the reason."""
        try:
            lines = [
                _printable(line) for line in itertools.islice(self._keeper.logs(_LOG_LINES, follow=False), _LOG_LINES)
            ]
            words = [_printable(line) for line in self._keeper.last_words(_TOLD_LINES)]
        except Interrupted:
            raise
        except (EdgeError, OSError):
            return verdict
        with contextlib.suppress(OSError):
            self._keep_log(release, lines)
        told = " | ".join(line for line in words if line)
        room = _TOLD_LETTERS - len(verdict.reason) - len("; log: ")
        if not told or room <= 0:
            return dataclasses.replace(verdict, reason=verdict.reason[:_TOLD_LETTERS])
        return dataclasses.replace(verdict, reason=f"{verdict.reason}; log: {told[-room:]}")

    def _keep_log(self, release: str, lines: list[str]) -> None:
        make_folders(self._fs, self._root.logs)
        path = self._root.logs / f"{release[:12]}.log"
        temporary = path.with_name(TEMPORARY + path.name)
        remove_if_there(self._fs, temporary)
        write_file(self._fs, temporary, "".join(f"{line}\n" for line in lines).encode()[-_LOG_BYTES:], _PRIVATE)
        self._fs.rename(temporary, path)


def _settings(current: Path) -> Union[ServiceSpec, Verdict]:
    """Return how a release runs, or what its settings that cannot be read say of it. Raises Interrupted."""
    try:
        return read_json(ServiceSpec, current / RELEASE_SERVICE)
    except Interrupted:
        raise
    except EdgeError as error:
        return Verdict(ok=False, code="bad-release", reason=str(error))


def _hook_trouble(hook: Path) -> Optional[str]:
    """Return why a hook that is there may not be run: whoever can write to it would decide what stays."""
    try:
        found = hook.lstat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return "expected a file"
    if found.st_uid not in (0, os.geteuid()):
        return f"expected it to be of root or of who installs, got uid {found.st_uid}"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"expected that only its owner may write to it, got mode {stat.S_IMODE(found.st_mode):04o}"
    if not found.st_mode & stat.S_IXUSR:
        return f"expected a program, got mode {stat.S_IMODE(found.st_mode):04o}"
    return None


def _detail(kept: Kept) -> str:
    return ", ".join(text for text in (kept.ended, _printable(kept.detail)) if text)


def _printable(line: str) -> str:
    """Return a line without what could move a terminal's cursor, cut."""
    return "".join(letter if letter.isprintable() else " " for letter in line[:_TOLD_LETTERS]).strip()
