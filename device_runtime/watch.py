"""Watches what the machine does while something is measured: about once a second, from a thread of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from device_runtime.contract.bench import Moment
from device_runtime.machine import find_gauges, throttled_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_MOMENTS = 400
"""When there are so many, neighbours become one, and the watch looks half as often from then on."""

THROTTLED_EVERY_S = 5.0
"""``vcgencmd`` is a process of its own; at the beginning and at the end it is asked besides."""

_LEAST_TICKS = 20
"""Of all cores, for ``others``: the kernel counts in ticks of 10 ms, and fewer of them tell too little."""

_PROC = Path("/proc")
_SYS = Path("/sys")


class Watch:
    """Looks at the machine from ``start`` to ``stop``, or as long as it is entered.

    Each moment is None where the machine does not tell. ``others`` are all who are not this process or one started by
    it; what the hypervisor gave to other guests (steal) is theirs, too.

    Args:
        interval_s: between two looks, at first.
        proc: where the kernel tells of processes.
        sys: where it tells of devices.
        throttled: gives the bits of ``vcgencmd get_throttled``.
    """

    def __init__(
        self,
        interval_s: float = 1.0,
        *,
        proc: Path = _PROC,
        sys: Path = _SYS,
        throttled: Callable[[], int | None] = throttled_bits,
    ) -> None:
        self._interval_s = interval_s
        self._proc = proc
        self._gauges = find_gauges(sys)
        self._throttled = throttled
        self._moments: list[Moment] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._started = 0.0
        self._asked_s = 0.0
        self._times: _Times | None = None
        self._cost_s = 0.0
        self._looks = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Take the first look, and begin to watch."""
        self._started = time.monotonic()
        self._look(ask=True)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last look; a watch that does not run is left alone."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join()
        self._thread = None
        self._look(ask=True)

    @property
    def moments(self) -> tuple[Moment, ...]:
        """What was seen so far, in order; at most ``MAX_MOMENTS``."""
        return tuple(self._moments)

    @property
    def cost_s(self) -> float:
        """CPU time that a look took on average, in seconds, without the processes that it started."""
        return self._cost_s / self._looks if self._looks else 0.0

    def _watch(self) -> None:
        while not self._over.wait(self._interval_s):
            self._look(ask=time.monotonic() - self._asked_s >= THROTTLED_EVERY_S)
            if len(self._moments) >= MAX_MOMENTS - 1:  # one is left for the last look
                self._moments = thinned(self._moments)
                self._interval_s *= 2

    def _look(self, *, ask: bool) -> None:
        began = time.thread_time()
        bits = None
        if ask:
            self._asked_s = time.monotonic()
            bits = self._throttled()
        self._moments.append(
            Moment(
                at_s=round(time.monotonic() - self._started, 3),
                frequency_mhz=self._gauges.slowest_core_mhz(),
                temperature_c=self._gauges.temperature_c(),
                throttled=bits,
                others=self._others(),
                waiting=waiting_share(self._proc),
            )
        )
        self._cost_s += time.thread_time() - began
        self._looks += 1

    def _others(self) -> float | None:
        now = _read_times(self._proc)
        last, self._times = self._times, now
        if now is None or last is None:
            return None
        if now.all - last.all < _LEAST_TICKS:
            self._times = last  # the next look is over this time, too
            return None
        own = max(0, now.own - last.own)  # one that left takes its times with it
        share = (now.busy - last.busy - own) / (now.all - last.all)
        return round(min(1.0, max(0.0, share)), 4)


def thinned(moments: Sequence[Moment]) -> list[Moment]:
    """Make one of each two neighbours after the first moment, so that about half as many tell the same.

    The worst of both is kept: the slowest clock, the highest temperature, each bit, the longest waiting. ``others`` is
    the average over the time of both.
    """
    kept = list(moments[:1])
    for at in range(1, len(moments) - 1, 2):
        one, two = moments[at], moments[at + 1]
        spans = (one.at_s - moments[at - 1].at_s, two.at_s - one.at_s)
        kept.append(
            Moment(
                at_s=two.at_s,
                frequency_mhz=min(_known(one.frequency_mhz, two.frequency_mhz), default=None),
                temperature_c=max(_known(one.temperature_c, two.temperature_c), default=None),
                throttled=_either(one.throttled, two.throttled),
                others=_average((one.others, two.others), spans),
                waiting=max(_known(one.waiting, two.waiting), default=None),
            )
        )
    if len(moments) > 1 and len(moments) % 2 == 0:
        kept.append(moments[-1])
    return kept


def waiting_share(proc: Path = _PROC) -> float | None:
    """Return the share (0–1) of the last 10 s in which somebody waited for memory; None from kernels without PSI.

    Source: Linux, Documentation/accounting/psi.rst, ``some avg10`` of ``pressure/memory``, in percent.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "pressure" / "memory").read_text().splitlines():
            kind, *fields = line.split()
            for field in fields:
                name, _, value = field.partition("=")
                if (kind, name) == ("some", "avg10"):
                    return round(float(value) / 100, 4)
    return None


@dataclass(frozen=True)
class _Times:
    """CPU times since the start of the machine, in ticks: of ``all`` cores, how much was ``busy``, and our ``own``."""

    all: int
    busy: int
    own: int


def _read_times(proc: Path) -> _Times | None:
    try:
        # proc_stat(5): user nice system idle iowait irq softirq steal, and guests, which are in user and nice already.
        with (proc / "stat").open() as stream:
            fields = [int(field) for field in stream.readline().split()[1:9]]
        return _Times(sum(fields), sum(fields) - fields[3] - fields[4], _own_ticks(proc))
    except (OSError, ValueError, IndexError):
        return None


def _own_ticks(proc: Path) -> int:
    """Return the times of this process, of those that it started, and of theirs, ended or alive."""
    total, waiting = _process_ticks(proc / "self"), _children(proc / "self")
    while waiting:
        child = proc / waiting.pop()
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            total += _process_ticks(child)
            waiting += _children(child)
    return total


def _process_ticks(process: Path) -> int:
    # proc_pid_stat(5): the name in brackets may hold anything; utime, stime, cutime, cstime are fields 14 to 17.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def _children(process: Path) -> list[str]:
    found: list[str] = []
    with contextlib.suppress(OSError), os.scandir(process / "task") as tasks:
        for task in tasks:
            with contextlib.suppress(OSError), open(f"{task.path}/children") as stream:  # noqa: PTH123 - half the time
                found += stream.read().split()
    return found


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def _either(one: int | None, two: int | None) -> int | None:
    if one is None or two is None:
        return two if one is None else one
    return one | two


def _average(values: tuple[float | None, float | None], spans: tuple[float, float]) -> float | None:
    told = [(value, span) for value, span in zip(values, spans, strict=True) if value is not None]
    whole = sum(span for _, span in told)
    return round(sum(value * span for value, span in told) / whole, 4) if whole else None
