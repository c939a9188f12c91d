"""An application's signs of life, for those who keep it running: systemd's watchdog, and the pulse file."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from device_runtime.contract.decode import dumps
from device_runtime.contract.events import Events, Notice, silent
from device_runtime.contract.pulse import PULSE_FILE, Pulse
from device_runtime.contract.service import HealthSpec
from device_runtime.errors import EdgeError, Interrupted
from device_runtime.notify import Notifier, take_notifier

if TYPE_CHECKING:
    from device_runtime.loop.progress import Progress
    from device_runtime.loop.run import RunSummary
    from device_runtime.telemetry import Telemetry

BEAT_S = 1.0
"""Between two beats, where the watchdog does not ask for more: it hears three times of what it waits for once."""

_RELEASE_ID = re.compile(r"[0-9a-f]{64}")


class Heart:
    """Beats while a loop gets on, or waits for its camera; when the loop hangs it is silent, and its pulse grows old.

    It has no thread: what calls ``look`` is the loop itself. Use it as a context: at its end the pulse is removed.
    """

    def __init__(
        self,
        notifier: Notifier,
        file: Path | None = None,
        release: str | None = None,
        events: Events = silent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one for this process.

        Args:
            notifier: hears that it is ready, of each beat, and how it is doing.
            file: gets the pulse, None for none.
            release: the id of the release that runs, 64 hex digits.
            events: hears of a loop that hangs, and of a pulse that cannot be written.
            clock: gives seconds, of a clock that all processes share.
        """
        self.ready = False
        self._notifier = notifier
        self._file = file
        self._release = release
        self._events = events
        self._clock = clock
        self._started = self._beaten = self._told = clock()
        self._extend_s = HealthSpec().watchdog_s
        self._interval_s = min(BEAT_S, (notifier.watchdog_s or BEAT_S * 3) / 3)
        self._telemetry: Telemetry | None = None
        self._alive = self._warned = self._unwritable = self._stopping = False

    def __enter__(self) -> Self:
        self._notifier.send(STATUS="starting: loading the model")
        self._write(Pulse(os.getpid(), self._started, 0.0, "starting", release=self._release))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            for path in (self._file, self._beside(self._file)):
                with contextlib.suppress(OSError):
                    path.unlink()
        if not self._stopping:
            self._notifier.send(STOPPING=1)
        if isinstance(error, Exception) and not isinstance(error, Interrupted):
            words = str(error) if isinstance(error, EdgeError) else f"{type(error).__name__}: {error}"
            self._notifier.send(STATUS=f"failed: {words}")
        self._notifier.close()

    def watch(self, telemetry: Telemetry, health: HealthSpec) -> None:
        """Say what counts the predictions, and how long the start may be extended with one beat."""
        self._telemetry = telemetry
        self._extend_s = health.watchdog_s

    def look(self, progress: Progress) -> None:
        """Beat when it is time, and the loop got on since the last beat."""
        stuck = progress.look()
        now = self._clock()
        self._alive = self._alive or stuck is None
        if not self.ready and progress.delivered:
            self.ready = True
            self._beat(now, READY=1)
        elif now - self._beaten >= self._interval_s:
            if self._alive:
                self._beat(now)
            else:
                self._tell(now, stuck or "")

    def stopping(self) -> None:
        """Say that the end has begun: from here on the manager waits for it as long as for any end.

        What is not ready yet may still become it: the last frame of a short source may be in the model.
        """
        if self.ready and not self._stopping:
            self._stopping = True
            self._notifier.send(STOPPING=1, STATUS="stopping")

    def finished(self, summary: RunSummary, source: str) -> None:
        """Say how it ended."""
        if not self.ready and summary.frames:
            self.ready = True  # a source of a few frames is over before anybody looked
            self._notifier.send(READY=1)
        why = "interrupted" if summary.interrupted else f"{source} has ended"
        self._notifier.send(STATUS=f"{why} after {summary.frames} predictions")

    def _beat(self, now: float, **assignments: object) -> None:
        self._alive = self._warned = False
        self._beaten = self._told = now
        pulse = self._pulse(now)
        sign = {"WATCHDOG": 1} if self.ready else {"EXTEND_TIMEOUT_USEC": round(self._extend_s * 1e6)}
        self._write(pulse)  # first, so that who hears READY finds it
        self._notifier.send(**assignments, STATUS=self._text(pulse), **sign)

    def _pulse(self, now: float) -> Pulse:
        health: Literal["starting", "ok", "failing"] = "starting"
        reasons: tuple[str, ...] = ()
        predictions, fps, p95_ms = 0, 0.0, None
        if self._telemetry is not None:
            health, reasons = self._telemetry.health()
            rates = self._telemetry.rates()
            predictions, fps, p95_ms = rates.predictions, rates.fps, rates.p95_ms
        uptime_s = round(now - self._started, 3)
        return Pulse(os.getpid(), now, uptime_s, health, reasons, predictions, fps, p95_ms, self._release)

    def _text(self, pulse: Pulse) -> str:
        """Return a status for people."""
        if not self.ready:
            camera = [reason for reason in pulse.reasons if reason.startswith("camera: ")]
            return f"waiting for the {camera[0]}" if camera else "waiting for the first frame"
        if pulse.health == "failing":
            return f"failing: {', '.join(pulse.reasons)}"
        return f"{pulse.fps:.1f} fps" + ("" if pulse.p95_ms is None else f", p95 {pulse.p95_ms:.0f} ms")

    def _tell(self, now: float, stuck: str) -> None:
        """Say that nothing gets on: to who looks, and after ``stall_s`` once to the journal. It is no beat.

        The service manager acts later, and its own line does not say why.
        """
        if now - self._told < self._interval_s:
            return
        self._told = now
        silent_s = now - self._beaten
        self._notifier.send(STATUS=f"no progress for {silent_s:.0f} s: {stuck}")
        stall_s = self._telemetry.identity.stall_s if self._telemetry is not None else 0.0
        if silent_s > stall_s and not self._warned:
            self._warned = True
            self._events(Notice(f"no progress for {silent_s:.0f} s: {stuck}", "warning"))

    def _write(self, pulse: Pulse) -> None:
        """Write the pulse beside and rename. It is not flushed to the disk: after a power cut nobody asks for it."""
        if self._file is None:
            return
        beside = self._beside(self._file)
        try:
            beside.write_text(dumps(pulse))
            beside.replace(self._file)
            self._unwritable = False
        except OSError as error:
            if not self._unwritable:
                self._events(Notice(f"cannot write {self._file}: {error.strerror or error}", "warning"))
            self._unwritable = True

    @staticmethod
    def _beside(file: Path) -> Path:
        return file.with_name(f".{file.name}.new")


def heart_of_service(
    release: Path | None, events: Events, environment: MutableMapping[str, str] | None = None
) -> Heart:
    """Return the heart of a process that a service manager started, as its environment says.

    Args:
        release: the folder of the release that runs; through a link like ``current`` too.
        events: see ``Heart``.
        environment: that of the process; what is for this process alone is taken out of it.
    """
    environment = os.environ if environment is None else environment
    return Heart(take_notifier(environment), _pulse_file(environment), _release_id(release), events)


def _pulse_file(environment: Mapping[str, str]) -> Path | None:
    text = environment.get(PULSE_FILE)
    return Path(text) if text else None


def _release_id(release: Path | None) -> str | None:
    if release is None:
        return None
    with contextlib.suppress(OSError):
        name = release.resolve().name
        return name if _RELEASE_ID.fullmatch(name) else None
    return None
