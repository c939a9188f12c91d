"""Keeps the application running where there is no systemd: starts it, watches its pulse, starts it again, gives up."""

from __future__ import annotations

import contextlib
import grp
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from device_runtime.contract.decode import read_json
from device_runtime.contract.manifest import RELEASE_SERVICE
from device_runtime.contract.pulse import PULSE_FILE, Pulse
from device_runtime.contract.service import HealthSpec, ServiceSpec
from device_runtime.errors import EdgeError
from device_runtime.install.launch import NOTHING_TO_RUN, STANDARD_PATH, clean_environment
from device_runtime.install.service.account import existing_groups
from device_runtime.install.service.keeper import Account
from device_runtime.install.service.logfile import LogFile
from device_runtime.install.service.processes import MARK, die_with, end_marked
from device_runtime.install.service.pulse import read_pulse
from device_runtime.install.service.runfolder import Record, RunFolder
from device_runtime.install.service.units import uses_camera
from device_runtime.signals import signal_name

_PIECE_BYTES = 65536


@dataclass(frozen=True)
class Timings:
    """How patient a supervisor is: as the systemd units say it, for those that have systemd.

    After a failure it waits ``pause_s``, twice as long after each further one, at most ``longest_pause_s``. After
    ``burst`` failures within ``interval_s``, or as long as so many that hang take, it gives up. It asks to end, and
    after ``stop_s`` it no longer asks.
    """

    pause_s: float = 2.0
    longest_pause_s: float = 30.0
    burst: int = 5
    interval_s: float = 300.0
    stop_s: float = 10.0
    poll_s: float = 0.25


PATIENT = Timings()


def crash_window_s(timings: Timings, health: HealthSpec) -> float:
    """Return within what time ``burst`` failures are a crash loop: those that end at once, and those that hang."""
    longest_s = health.start_s + health.watchdog_s + timings.stop_s + timings.longest_pause_s
    return max(timings.interval_s, timings.burst * longest_s)


@dataclass(frozen=True)
class Commands:
    """The words that become the application, and those that are run when it was given up."""

    launch: Sequence[str]
    crashed: Sequence[str]


class Supervisor:
    """Runs one application until it ends well, is given up, or somebody asks for its end."""

    def __init__(
        self, folder: RunFolder, commands: Commands, account: Optional[Account], timings: Timings = PATIENT
    ) -> None:
        """Make one; the caller holds the folder's lock, for as long as this process lives."""
        self._folder = folder
        self._commands = commands
        self._account = account
        self._timings = timings
        self._log = LogFile(folder.log)
        self._record = Record("starting", account=account.name if account else "")
        self._failed: deque[float] = deque(maxlen=timings.burst)
        self._asked = False

    def run(self) -> None:
        """Supervise; SIGTERM and SIGINT end it. What nobody supervises any more is ended first."""
        before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        end_marked(self._folder.root)
        with contextlib.suppress(OSError):
            self._folder.write(self._record)
        try:
            while not self._asked and self._run_once():
                pass
            if self._asked:
                self._tell("stopped", detail="")
        finally:
            end_marked(self._folder.root)
            self._log.end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        self._asked = True

    def _run_once(self) -> bool:
        """Run the application to its end, and return whether to run it again."""
        self._forget_pulse()
        self._tell("starting", detail="")
        try:
            process = self._start()
        except OSError as error:
            return self._failure(f"cannot be started: {error.strerror or error}", "")
        with process:
            self._log.say(f"started, pid {process.pid}")
            try:
                ended = self._watch(process)
            finally:
                self._end_rest(process)
        self._log.end()
        if self._asked:
            self._record = replace(self._record, ended=ended or _ended(process.returncode))
            return False
        if ended:
            return self._failure(ended, f"it made no progress: {ended}")
        if process.returncode == NOTHING_TO_RUN:
            self._tell("stopped", ended=f"exit {NOTHING_TO_RUN}", detail=self._log.last())
            return False
        if process.returncode == 0:
            self._tell("stopped", ended="exit 0", detail="it ended by itself")
            return False
        return self._failure(_ended(process.returncode), self._log.last())

    def _start(self) -> subprocess.Popen[bytes]:
        parent = os.getpid()
        account = self._account
        whom: dict[str, Any] = {}
        if account is not None:
            whom = {"user": account.uid, "group": account.gid, "extra_groups": self._groups()}
        return subprocess.Popen(
            list(self._commands.launch),
            cwd="/",
            env=self._environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 - this process has one thread
            **whom,
        )

    def _environment(self, given: Mapping[str, str]) -> dict[str, str]:
        environment = clean_environment(given)
        if self._account is not None:
            # There is nothing of root's for it.
            name, home = self._account.name, str(self._folder.root.data)
            environment.update(PATH=STANDARD_PATH, HOME=home, USER=name, LOGNAME=name)
            environment.pop("XDG_RUNTIME_DIR", None)
        return {**environment, PULSE_FILE: str(self._folder.pulse), MARK: str(self._folder.root.path)}

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the end; return why it was ended, or an empty text when it ended by itself or was asked to."""
        clock = _Clock(self._service().health, time.monotonic())
        output = process.stdout.fileno() if process.stdout else -1
        os.set_blocking(output, False)
        while process.poll() is None:
            if self._asked:
                self._ask_to_end(process, output)
                return ""
            self._pump(output)
            pulse = read_pulse(self._folder.pulse)
            if pulse is not None and pulse.pid == process.pid:
                clock.hear(pulse)
            self._tell("running" if clock.ready else "starting", pid=process.pid)
            late = clock.late(time.monotonic())
            if late and self._takes_a_pulse():
                self._abort(process, late, output)
                return late
            _wait_readable(output, self._timings.poll_s)
        self._pump(output)
        return ""

    def _service(self) -> ServiceSpec:
        try:
            return read_json(ServiceSpec, self._folder.root.current / RELEASE_SERVICE)
        except EdgeError:
            return ServiceSpec()

    def _groups(self) -> list[int]:
        """Return the groups of the application: those of cameras when it uses one, and none of ours."""
        return [grp.getgrnam(name).gr_gid for name in existing_groups()] if uses_camera(self._service()) else []

    def _takes_a_pulse(self) -> bool:
        """Return whether the disk would take a pulse: a full one says nothing of who lives."""
        probe = self._folder.path / ".probe"
        try:
            probe.write_bytes(b"0")
            probe.unlink()
        except OSError:
            return False
        return True

    def _pump(self, descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):  # a flood of output must not keep us from the rest
                piece = os.read(descriptor, _PIECE_BYTES)
                if not piece:
                    return
                self._log.feed(piece)

    def _ask_to_end(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        process.terminate()
        self._wait(process, descriptor, self._timings.stop_s)

    def _abort(self, process: subprocess.Popen[bytes], why: str, descriptor: int) -> None:
        """End what hangs: SIGABRT lets Python say where, when it can (systemd's WatchdogSignal)."""
        self._log.say(f"ends it: {why}")
        process.send_signal(signal.SIGABRT)
        self._wait(process, descriptor, self._timings.stop_s)

    def _wait(self, process: subprocess.Popen[bytes], descriptor: int, time_s: float) -> None:
        until = time.monotonic() + time_s
        while process.poll() is None and time.monotonic() < until:
            self._pump(descriptor)
            time.sleep(min(0.02, self._timings.poll_s))
        self._pump(descriptor)

    def _end_rest(self, process: subprocess.Popen[bytes]) -> None:
        """End the application's processes: the first, its group, and those that left the group."""
        if process.poll() is None:
            # Not when it has ended: its pid may be another's by now.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        end_marked(self._folder.root)

    def _failure(self, ended: str, detail: str) -> bool:
        now, window_s = time.monotonic(), crash_window_s(self._timings, self._service().health)
        self._failed.append(now)
        self._log.say(f"ended: {ended}")
        if len(self._failed) == self._timings.burst and now - self._failed[0] <= window_s:
            self._tell("failed", ended=ended, detail=detail)
            self._log.say(f"gives up: {self._timings.burst} failures in {now - self._failed[0]:.0f} s")
            self._give_up()
            return False
        self._record = replace(self._record, restarts=self._record.restarts + 1)
        self._tell("starting", ended=ended, detail=detail)
        recent = sum(1 for at in self._failed if now - at <= self._timings.interval_s)
        until = now + min(self._timings.pause_s * 2 ** (recent - 1), self._timings.longest_pause_s)
        while not self._asked and time.monotonic() < until:
            time.sleep(self._timings.poll_s)
        return not self._asked

    def _give_up(self) -> None:
        """Start what decides now; it may start another supervisor, so this one is not to be waited for."""
        words = list(self._commands.crashed)
        with contextlib.suppress(OSError), self._folder.log.open("ab") as log:
            outputs = [(os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2)]
            os.posix_spawn(words[0], words, os.environ, file_actions=outputs, setsid=True)

    def _forget_pulse(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.pulse.unlink()

    def _tell(self, state: str, *, pid: int = 0, ended: Optional[str] = None, detail: Optional[str] = None) -> None:
        last = self._record
        told = replace(
            last,
            state=state,  # type: ignore[arg-type] # one of its words
            pid=pid,
            ended=last.ended if ended is None else ended,
            detail=last.detail if detail is None else detail,
        )
        if told != last or not self._folder.record_file.exists():
            self._record = told
            with contextlib.suppress(OSError):  # a full disk must not end the application
                self._folder.write(told)


class _Clock:
    """What the pulse says of the time: whether it is ready, and whether it is late."""

    def __init__(self, health: HealthSpec, begun_s: float) -> None:
        self.ready = False
        self._health = health
        self._start_s = begun_s + health.start_s
        self._beat_s = begun_s

    def hear(self, pulse: Pulse) -> None:
        # One from the future would let it hang for ever.
        self._beat_s = max(self._beat_s, min(pulse.beat_s, time.monotonic()))
        self.ready = self.ready or pulse.predictions > 0 or pulse.health == "ok"

    def late(self, now_s: float) -> str:
        """Return why it is to be ended, or an empty text. Each beat extends the start, as it does for systemd."""
        alive_s = self._beat_s + self._health.watchdog_s
        if self.ready:
            return "watchdog" if now_s > alive_s else ""
        return "start-timeout" if now_s > max(alive_s, self._start_s) else ""


def _wait_readable(descriptor: int, time_s: float) -> None:
    """Wait until there is output, or the time is over; output that has ended is waited for like none."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    found = poller.poll(time_s * 1000)
    if any(event & select.POLLHUP and not event & select.POLLIN for _, event in found):
        time.sleep(time_s)


def _ended(code: int) -> str:
    return signal_name(-code) if code < 0 else f"exit {code}"
