"""What a running application did so far and how it is doing: counted by the loop, read by page, metrics and monitor."""

from __future__ import annotations

import bisect
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from device_runtime.contract.prediction import STAGES, Prediction, RuleEvent
from device_runtime.machine import Vitals, read_vitals

if TYPE_CHECKING:
    from device_runtime.contract.live import LiveStatus, SinkStatus, StageWindow

WINDOW_S = 5.0
"""Rates and latencies are over the predictions of so many last seconds."""

HISTORY_S = 60
"""How far back the history goes."""

BUCKETS_MS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
"""Upper bounds of the latency histograms' buckets; one more holds what is above."""

_EVENTS = 20
_WINDOW = 4096
_VITALS_S = 1.0
"""What the machine tells is asked for this often at most: on a Raspberry Pi it takes a process."""


@dataclass(frozen=True)
class Identity:
    """What runs: names and versions, for people. ``stall_s`` without a prediction is a failure."""

    model: str
    engine: str
    source: str
    release: str | None = None
    stall_s: float = 10.0


@dataclass
class Histogram:
    """Latencies since the start: how many were at most each of ``BUCKETS_MS`` and above the one before, and their sum.

    ``counts`` has one more bucket than there are bounds.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_MS) + 1))
    sum_ms: float = 0.0

    def add(self, value_ms: float) -> None:
        """Count one latency."""
        self.counts[bisect.bisect_left(BUCKETS_MS, value_ms)] += 1
        self.sum_ms += value_ms


@dataclass(frozen=True)
class Rates:
    """Predictions since the start; their rate, and the 95th percentile of their age, over the last seconds."""

    predictions: int
    fps: float
    p95_ms: float | None


@dataclass
class _Second:
    """What happened in one whole second since the start."""

    number: int
    predicted: int = 0
    dropped: int = 0
    sums_ms: dict[str, float] = field(default_factory=dict)


class Telemetry:
    """Counts what the loop does. Every method may be called from any thread, and returns at once."""

    def __init__(self, identity: Identity, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count; ``clock`` gives seconds."""
        self.identity = identity
        self.workers = 0
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._frames = {"predicted": 0, "dropped": 0, "damaged": 0}
        self._histograms = {stage: Histogram() for stage in STAGES}
        # (when, timings) of the latest predictions: fps and latencies of the last seconds.
        self._window: deque[tuple[float, dict[str, float]]] = deque(maxlen=_WINDOW)
        self._seconds: deque[_Second] = deque(maxlen=HISTORY_S + 1)
        self._events: deque[RuleEvent] = deque(maxlen=_EVENTS)
        self._event_counts: dict[str, int] = {}
        self._last: Prediction | None = None
        self._camera: Literal["ok", "lost", "ended"] = "ok"
        self._camera_error = ""
        self._reopened = 0
        self._sinks: Callable[[], dict[str, SinkStatus]] = dict
        self._viewers: Callable[[], int] = int
        self._cpu = (clock(), time.process_time())
        self._cpu_percent: float | None = None
        self._vitals: tuple[float, Vitals] | None = None

    def predicted(self, prediction: Prediction) -> None:
        """Count a prediction, and what its stages took."""
        with self._lock:
            now = self._clock()
            self._frames["predicted"] += 1
            second = self._second(now)
            second.predicted += 1
            for stage, value in prediction.timings_ms.items():
                if stage in self._histograms:
                    self._histograms[stage].add(value)
                    second.sums_ms[stage] = second.sums_ms.get(stage, 0.0) + value
            self._window.append((now, prediction.timings_ms))
            self._last = prediction
            for event in prediction.events:
                self._events.append(event)
                if event.phase == "begin":
                    self._event_counts[event.rule] = self._event_counts.get(event.rule, 0) + 1

    def dropped(self, count: int = 1) -> None:
        """Count frames that nobody took in time."""
        with self._lock:
            self._frames["dropped"] += count
            self._second(self._clock()).dropped += count

    def damaged(self) -> None:
        """Count a frame that could not be decoded."""
        with self._lock:
            self._frames["damaged"] += 1

    def camera_lost(self, message: str) -> None:
        """Say that the camera stopped, and is being opened again."""
        with self._lock:
            self._camera, self._camera_error = "lost", message

    def camera_back(self) -> None:
        """Say that the camera gives frames again."""
        with self._lock:
            self._camera, self._camera_error = "ok", ""
            self._reopened += 1

    def camera_ended(self) -> None:
        """Say that the source came to its end."""
        with self._lock:
            self._camera = "ended"

    def watch_sinks(self, sinks: Callable[[], dict[str, SinkStatus]]) -> None:
        """Say where the counts of the sinks are."""
        self._sinks = sinks

    def watch_viewers(self, viewers: Callable[[], int]) -> None:
        """Say where the number of viewers is."""
        self._viewers = viewers

    def histograms(self) -> dict[str, Histogram]:
        """Return copies of the stages' histograms."""
        with self._lock:
            return {stage: Histogram(list(had.counts), had.sum_ms) for stage, had in self._histograms.items()}

    def event_counts(self) -> dict[str, int]:
        """Return how many events each rule began."""
        with self._lock:
            return dict(self._event_counts)

    def health(self) -> tuple[Literal["starting", "ok", "failing"], tuple[str, ...]]:
        """Return the health and its reasons, as ``LiveStatus`` has them."""
        with self._lock:
            return self._health(self._clock())

    def rates(self) -> Rates:
        """Return how fast it is: what is asked for every second, and takes no more than sorting the latest ages."""
        now = self._clock()
        with self._lock:
            predictions, window = self._frames["predicted"], list(self._window)
        first = bisect.bisect_left(window, now - WINDOW_S, key=lambda entry: entry[0])
        ages = sorted([timings["total"] for _, timings in window[first:] if "total" in timings])
        p95_ms = round(_percentile(ages, 0.95), 3) if ages else None
        return Rates(predictions, round(_rate([when for when, _ in window[first:]], now), 2), p95_ms)

    def status(self) -> LiveStatus:
        """Return how it is doing now."""
        import datetime as dt  # noqa: PLC0415 - what nobody asks for delays no first prediction

        from device_runtime.contract.live import LiveStatus  # noqa: PLC0415

        sinks, viewers = self._sinks(), self._viewers()
        now = self._clock()
        vitals = self._read_vitals(now)
        with self._lock:
            cpu_percent = self._measure_cpu(now)
            health, reasons = self._health(now)
            window, seconds = list(self._window), list(self._seconds)
            frames, events = dict(self._frames), tuple(self._events)
            camera, last, reopened = self._camera, self._last, self._reopened
        # Sorting thousands of latencies is not done under the lock: the loop counts meanwhile.
        recent = [entry for entry in window if now - entry[0] <= WINDOW_S]
        columns = {stage: [timings[stage] for _, timings in recent if stage in timings] for stage in STAGES}
        windows = {stage: summarise_window(values) for stage, values in columns.items() if values}
        return LiveStatus(
            at=dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            uptime_s=round(now - self._started, 3),
            model=self.identity.model,
            release=self.identity.release,
            engine=self.identity.engine,
            source=self.identity.source,
            camera=camera,
            health=health,
            reasons=reasons,
            fps=round(_rate([when for when, _ in recent], now), 2),
            workers=self.workers,
            frames=frames,
            stages_ms=windows,
            age_ms=windows.get("total"),
            sinks=sinks,
            viewers=viewers,
            reopened=reopened,
            temperature_c=vitals.temperature_c,
            throttled=vitals.throttled,
            rss_bytes=vitals.rss_bytes,
            cpu_percent=cpu_percent,
            last=last,
            events=events,
            history=_history(seconds, int(now - self._started)),
        )

    def _second(self, now: float) -> _Second:
        number = int(now - self._started)
        if not self._seconds or self._seconds[-1].number < number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]

    def _read_vitals(self, now: float) -> Vitals:
        if self._vitals is None or now - self._vitals[0] >= _VITALS_S:
            self._vitals = (now, read_vitals())
        return self._vitals[1]

    def _health(self, now: float) -> tuple[Literal["starting", "ok", "failing"], tuple[str, ...]]:
        reasons = [f"camera: {self._camera_error}"] if self._camera == "lost" else []
        since = now - (self._window[-1][0] if self._window else self._started)
        if self._camera != "ended" and since > self.identity.stall_s:
            reasons.append(f"no prediction for {since:.0f} s")
        if reasons:
            return "failing", tuple(reasons)
        return ("ok" if self._window else "starting"), ()

    def _measure_cpu(self, now: float) -> float | None:
        """Return the process's share of one core, in percent, since about a second ago or longer."""
        then, used = self._cpu
        if now - then >= 1.0:
            spent = time.process_time()
            self._cpu_percent = round(100 * (spent - used) / (now - then), 1)
            self._cpu = (now, spent)
        return self._cpu_percent


def summarise_window(values: Sequence[float]) -> StageWindow:
    """Return mean, median and 95th percentile (nearest rank) of one latency or more."""
    from device_runtime.contract.live import StageWindow  # noqa: PLC0415 - see above

    ordered = sorted(values)
    return StageWindow(
        mean=round(sum(ordered) / len(ordered), 3),
        p50=round(_percentile(ordered, 0.5), 3),
        p95=round(_percentile(ordered, 0.95), 3),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest rank of one value or more."""
    return ordered[round(share * (len(ordered) - 1))]


def _history(seconds: Sequence[_Second], now: int) -> dict[str, tuple[float, ...]]:
    """Return the columns of ``LiveStatus.history`` up to second ``now``, which is not over yet."""
    known = {second.number: second for second in seconds}
    rows = [known.get(number) or _Second(number) for number in range(max(0, now - HISTORY_S), now)]
    means = {
        stage: tuple(round(row.sums_ms.get(stage, 0.0) / max(1, row.predicted), 2) for row in rows) for stage in STAGES
    }
    return {
        "fps": tuple(float(row.predicted) for row in rows),
        "dropped": tuple(float(row.dropped) for row in rows),
        **means,
    }


def _rate(times: Sequence[float], now: float) -> float:
    """Return predictions per second: between the first and the last, or until now when the last is long ago."""
    if len(times) < 2:
        return 0.0
    span = times[-1] - times[0]
    step = span / (len(times) - 1)
    if now - times[-1] > 2 * step:
        span = now - times[0]
    return (len(times) - 1) / span if span > 0 else 0.0
