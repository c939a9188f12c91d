"""Whether a release that was started does its work: a verdict from what its keeper and its pulse said, no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from device_runtime.contract.pulse import Pulse
from device_runtime.contract.service import HealthSpec
from device_runtime.install.application import Verdict
from device_runtime.install.service.keeper import Kept

GRACE_S = 5.0
"""A manager that was told to restart shows for a moment what was before; a service that is not there has no more."""
ENDING_S = 100.0
"""The old process may take so long to end: systemd's own limit is 90 s (DefaultTimeoutStopSec)."""

_CODES = {"out-of-memory": "out-of-memory", "watchdog": "hung", "start-timeout": "not-ready"}
_WORDS = {
    "out-of-memory": "it took more memory than it may",
    "watchdog": "it made no progress, and was ended",
    "start-timeout": "it made no prediction in the time to start",
}


@dataclass(frozen=True)
class Sample:
    """One look at the application: when, by the clock that all processes share, and what was seen."""

    clock_s: float
    kept: Kept
    pulse: Optional[Pulse] = None


@dataclass(frozen=True)
class Start:
    """What is judged: the release, since when it may run, and what its keeper said before that.

    Without ``before`` it was not started anew, and may have run already. ``ends`` tells that its source is over by
    itself one day, as a file is.
    """

    release: str
    clock_s: float
    before: Optional[Kept] = None
    ends: bool = False


class Watch:
    """Looks at samples one after the other until there is a verdict."""

    def __init__(self, start: Start, health: HealthSpec) -> None:
        """Begin with a start; ``health`` says what the release has to show."""
        self._start = start
        self._health = health
        self._begun_s: Optional[float] = None  # since the process is the new one
        self._ready: Optional[tuple[float, int, Pulse]] = None  # when, which process, and what it said then
        self._pulse: Optional[Pulse] = None
        self._alive = False  # its own pulse was there
        self._seen = start.before is None  # a process was there that is not the old one
        self._end = ""

    def look(self, sample: Sample) -> Optional[Verdict]:
        """Return the verdict, or None to go on watching. The samples come in order."""
        kept = sample.kept
        pulse = sample.pulse if sample.pulse is not None and self._is_own(sample.pulse) else None
        if pulse is None and self._is_old(sample):
            late = sample.clock_s - self._start.clock_s > self._health.start_s + ENDING_S
            return _bad("not-ready", "what ran before did not end") if late else None
        if self._begun_s is None:
            self._begun_s = sample.clock_s
        self._pulse = pulse or self._pulse
        self._seen = self._seen or kept.pid != 0 or pulse is not None
        self._end = kept.ended or self._end
        # A launcher that has nothing to run ends well, too, but has no pulse.
        self._alive = self._alive or pulse is not None
        if self._seen or sample.clock_s - self._start.clock_s >= GRACE_S:
            died = self._death(kept)
            if died is not None:
                return died
        elif kept.state == "failed":
            return None
        if kept.state == "stopped":
            return self._ended(sample)
        if self._ready is None:
            return self._starting(sample, pulse)
        return self._running(sample)

    def _is_own(self, pulse: Pulse) -> bool:
        """Return whether the release that is judged wrote it: not one before it, nor itself before it was started."""
        process_s = pulse.beat_s - pulse.uptime_s
        return pulse.release == self._start.release and (self._start.before is None or process_s >= self._start.clock_s)

    def _is_old(self, sample: Sample) -> bool:
        """Return whether the keeper still shows what was before the start."""
        before = self._start.before
        if before is None or self._begun_s is not None:
            return False
        if before.pid and sample.kept.pid == before.pid:
            return True
        return sample.kept == before and sample.clock_s - self._start.clock_s < GRACE_S

    def _death(self, kept: Kept) -> Optional[Verdict]:
        replaced = self._ready is not None and kept.pid not in (0, self._ready[1])
        # Between two tries a manager still knows how the first one ended; with the next one it forgets.
        pausing = self._seen and kept.pid == 0 and kept.state == "starting" and bool(kept.ended)
        if kept.state != "failed" and kept.restarts == 0 and not replaced and not pausing:
            return None
        end = kept.ended or self._end
        code = _CODES.get(end, "crash-loop" if kept.restarts > 1 else "crashed")
        reason = _WORDS.get(end, f"it ended ({end})" if end else "it ended")
        if code == "not-ready":
            return self._not_ready(reason)
        times = f", and {kept.restarts} times in all" if kept.restarts > 1 else ""
        return _bad(code, reason + times)

    def _ended(self, sample: Sample) -> Optional[Verdict]:
        """Judge a service that does not run, and did not fail: a source that was over, or nothing that ever began."""
        if sample.kept.ended not in ("", "exit 0"):
            return _bad(_CODES.get(sample.kept.ended, "crashed"), f"it ended ({sample.kept.ended})")
        if self._alive and self._start.ends:
            # Its keeper says that it ended well, and that takes a first prediction.
            return Verdict(ok=True)
        if self._alive:
            return _bad("stopped", "it was stopped before it had proven itself")
        begun_s = sample.clock_s if self._begun_s is None else self._begun_s
        return _bad("not-ready", "it was not started") if sample.clock_s - begun_s > GRACE_S else None

    def _starting(self, sample: Sample, pulse: Optional[Pulse]) -> Optional[Verdict]:
        if sample.kept.state == "running" and pulse is not None:
            self._ready = (sample.clock_s, sample.kept.pid, pulse)
            return Verdict(ok=True) if self._health.watch_s == 0 else None
        begun_s = sample.clock_s if self._begun_s is None else self._begun_s
        if sample.clock_s - begun_s > self._health.start_s:
            return self._not_ready(f"it made no prediction within {self._health.start_s:g} s")
        return None

    def _not_ready(self, reason: str) -> Verdict:
        said = self._pulse.reasons if self._pulse else ()
        code = "no-frames" if any(each.startswith("camera: ") for each in said) else "not-ready"
        return _bad(code, f"{reason}: {', '.join(said)}" if said else reason)

    def _running(self, sample: Sample) -> Optional[Verdict]:
        if self._ready is None or self._pulse is None:  # both are there once it was ready
            return None
        since_s, _, first = self._ready
        last = self._pulse
        silent_s = sample.clock_s - last.beat_s
        if silent_s > self._health.watchdog_s:
            return _bad("hung", f"it gave no sign of life for {silent_s:.0f} s")
        # A sign of life from beyond the watch: one that hangs now was well as far as its last one tells.
        if last.beat_s - since_s < self._health.watch_s or last.beat_s <= first.beat_s:
            return None
        return self._figures(first, last)

    def _figures(self, first: Pulse, last: Pulse) -> Verdict:
        grown = last.predictions - first.predictions
        spent_s = last.beat_s - first.beat_s
        if grown <= 0 or last.health == "failing":
            why = ", ".join(last.reasons) or f"none in {spent_s:.1f} s"
            return _bad("no-frames", f"its predictions do not go on: {why}")
        fps = grown / spent_s
        if fps < self._health.min_fps:
            return _bad("too-slow", f"expected {self._health.min_fps:g} fps or more, got {fps:.1f}")
        most_ms = self._health.max_p95_ms
        if most_ms is not None and last.p95_ms is not None and last.p95_ms > most_ms:
            return _bad("too-late", f"expected a p95 of {most_ms:g} ms or less, got {last.p95_ms:.0f} ms")
        return Verdict(ok=True)


def judge(samples: Iterable[Sample], start: Start, health: HealthSpec) -> Optional[Verdict]:
    """Return the first verdict that samples lead to, or None when it takes more of them."""
    watch = Watch(start, health)
    return next((verdict for verdict in map(watch.look, samples) if verdict is not None), None)


def _bad(code: str, reason: str) -> Verdict:
    return Verdict(ok=False, code=code, reason=reason)
