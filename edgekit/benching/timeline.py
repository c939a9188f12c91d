"""The geometry of a run over time: latencies, and below them on the same axis what the machine did meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from device_runtime.contract.bench import BenchReport, Moment
from device_runtime.machine import decode_throttled
from edgekit.benching.figures import Values, end_of_axis
from edgekit.reporting.axes import UNKNOWN, Tick, milliseconds, nice_step, percent, ticks

DRAWN = ("total", "invoke")
"""The stages that get a line in the timeline, and a histogram."""

_COLUMNS = 240
"""Columns of a timeline: about one per two pixels of a wide screen."""

_CLIP = 1.6
"""The axis ends at this multiple of the 99.5th percentile when a few frames lie far above it; they are counted then."""

_PIECES = 8
"""Rows of the table that tells the same as the figure."""

_LEAST_SHARE = 0.25
"""The axis of a share ends here at least: 1% of others' work shall not look like a mountain."""

_LEAST_WAITING = 0.005
"""Waiting for memory is drawn from here on: PSI averages tell hundredths."""


@dataclass(frozen=True)
class Series:
    """One stage over the run: points ``x,y`` of the medians and of the band from minimum to maximum, y downwards."""

    name: str
    line: str
    band: str


@dataclass(frozen=True)
class Span:
    """A piece of the run, 0–100 of its time."""

    left: float
    width: float
    title: str


@dataclass(frozen=True)
class Lane:
    """When something slowed the machine down: ``name`` is the condition's, as the firmware calls it."""

    name: str
    spans: tuple[Span, ...]
    summary: str


@dataclass(frozen=True)
class Strip:
    """A reading of the machine over the run: points ``x,y``, y downwards; ``summary`` says from what to what."""

    kind: str
    line: str
    area: str
    ticks: tuple[Tick, ...]
    summary: str


@dataclass(frozen=True)
class Piece:
    """A row of the table that tells what the figure shows, as texts; ``cells`` are as many as the columns."""

    when: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Timeline:
    """Latencies over the run's time. ``beyond`` frames are above the axis's end, at ``beyond_at``.

    ``slowed`` is when any of the ``lanes`` has a span. ``columns`` and ``pieces`` are the same as a table.
    """

    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    beyond: int
    beyond_at: tuple[float, ...]
    longest: str
    summary: str
    lanes: tuple[Lane, ...]
    slowed: tuple[Span, ...]
    strips: tuple[Strip, ...]
    columns: tuple[str, ...]
    pieces: tuple[Piece, ...]


def timeline(report: BenchReport) -> Timeline | None:
    """Return a run over time; None when there are no single samples to draw."""
    arrays = {name: np.asarray(report.samples_ms[name], np.float64) for name in DRAWN if report.samples_ms.get(name)}
    if not arrays:
        return None
    duration = max(report.duration_s, 1e-9)
    places = frame_places(report)
    wanted = max(end_of_axis(values, _CLIP) for values in arrays.values())
    step = nice_step(wanted, 5)
    high = math.ceil(wanted / step - 1e-9) * step
    above = np.unique(np.concatenate([np.flatnonzero(values > high) for values in arrays.values()]))
    longest = milliseconds(max(float(values.max()) for values in arrays.values()))
    moments, known = _meanwhile(report)
    lanes = _lanes(moments, known, duration)
    strips = _strips(moments, duration)
    parts = [
        f"Latency of {' and '.join(arrays)} over {report.frames:,} frames in {duration:.0f} s, at most {longest} ms",
        *(f"slowed down by {lane.name}" for lane in lanes),
    ]
    return Timeline(
        series=tuple(_series(name, values, places, high) for name, values in arrays.items()),
        x_ticks=_seconds(duration),
        y_ticks=ticks(0, high, 5),
        beyond=len(above),
        beyond_at=tuple(sorted({round(float(places[at]), 1) for at in above})),
        longest=longest,
        summary="; ".join(parts),
        lanes=lanes,
        slowed=_union(lanes),
        strips=strips,
        columns=_columns(arrays, moments),
        pieces=_pieces(arrays, places, moments, lanes, duration),
    )


def frame_places(report: BenchReport) -> Values:
    """Return where the frames of ``samples_ms`` lie in the run's time, 0–100, from the first counted one to the last.

    A frame takes the loop as long as preparing, running and decoding it; what is left of the run is waiting for
    frames, and the same for all of them.
    """
    count = max(len(values) for values in report.samples_ms.values())
    work = np.zeros(count)
    for stage in ("prepare", "invoke", "decode"):
        values = np.asarray(report.samples_ms.get(stage, ()), np.float64)
        if len(values) == count:
            work += values
    each = 1e3 * report.duration_s / max(1, report.frames - 1)
    steps = work + max(0.0, each - float(work.mean()))
    passed = np.cumsum(steps) - steps[0]
    if passed[-1] <= 0:
        return np.linspace(0, 100, count) if count > 1 else np.zeros(count)
    return np.asarray(100 * passed / passed[-1], np.float64)


def _meanwhile(report: BenchReport) -> tuple[tuple[Moment, ...], int | None]:
    """Return what the machine did while frames were counted, on their clock, and the firmware's bits before that."""
    shifted = [replace(moment, at_s=moment.at_s - report.measured_from_s) for moment in report.during]
    bits = [moment.throttled for moment in shifted if moment.at_s < 0 and moment.throttled is not None]
    during = tuple(moment for moment in shifted if 0 <= moment.at_s <= report.duration_s)
    return during, bits[-1] if bits else report.before.throttled


def _series(name: str, values: Values, places: Values, high: float) -> Series:
    columns = np.array_split(np.arange(len(values)), min(_COLUMNS, len(values)))
    upper, lower, line = [], [], []
    for column in columns:
        x = float(places[column].mean())
        part = values[column]
        upper.append(_point(x, float(part.max()), high))
        lower.append(_point(x, float(part.min()), high))
        line.append(_point(x, float(np.median(part)), high))
    return Series(name, " ".join(line), " ".join([*upper, *reversed(lower)]))


def _point(x: float, y: float, high: float, low: float = 0.0) -> str:
    return f"{x:.2f},{100 - min(100.0, max(0.0, percent(y - low, high - low))):.2f}"


def _seconds(duration: float) -> tuple[Tick, ...]:
    marks = ticks(0, duration, 6)
    return tuple(Tick(mark.at, f"{mark.label} s" if mark is marks[-1] else mark.label) for mark in marks)


def _lanes(moments: Sequence[Moment], before: int | None, duration: float) -> tuple[Lane, ...]:
    """Return when each condition held: around each moment that tells so.

    A bit since boot that appears tells that the condition came and went between two moments.
    """
    told = [moment for moment in moments if moment.throttled is not None]
    found: dict[str, list[tuple[float, float]]] = {}
    for index, moment in enumerate(told):
        earlier = told[index - 1].at_s if index else 0.0
        later = told[index + 1].at_s if index + 1 < len(told) else duration
        known = told[index - 1].throttled if index else before
        now, since = decode_throttled(moment.throttled or 0)
        _, long_since = decode_throttled(known or 0)
        for name in now:
            found.setdefault(name, []).append(
                ((earlier + moment.at_s) / 2 if index else 0.0, (moment.at_s + later) / 2)
            )
        for name in since:
            if known is not None and name not in long_since and name not in now:
                found.setdefault(name, []).append((earlier, moment.at_s))
    return tuple(_lane(name, _merged(spans), duration) for name, spans in found.items())


def _lane(name: str, spans: Sequence[tuple[float, float]], duration: float) -> Lane:
    seconds = sum(end - start for start, end in spans)
    drawn = tuple(
        Span(
            percent(start, duration),
            percent(min(end, duration) - start, duration),
            f"{name} from {start:.1f} to {end:.1f} s",
        )
        for start, end in spans
    )
    return Lane(name, drawn, f"{name}: {seconds:.1f} of {duration:.1f} s")


def _union(lanes: Sequence[Lane]) -> tuple[Span, ...]:
    pieces = [(span.left, span.left + span.width) for lane in lanes for span in lane.spans]
    return tuple(Span(start, round(end - start, 3), "slowed down") for start, end in _merged(pieces))


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join spans that touch or overlap."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1] + 1e-6:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _strips(moments: Sequence[Moment], duration: float) -> tuple[Strip, ...]:
    """Return the machine's readings; one that it does not tell is left out, and so is memory that nobody waited for."""
    clock = _told(moments, lambda moment: moment.frequency_mhz)
    heat = _told(moments, lambda moment: moment.temperature_c)
    others = _told(moments, lambda moment: moment.others)
    waiting = _told(moments, lambda moment: moment.waiting)
    found = []
    if clock:
        ends = (0.0, max(value for _, value in clock))
        found.append(_strip(_Reading("Clock of the slowest core", "clock", _mhz, np.min), clock, ends, duration))
    if heat:
        low, high = min(value for _, value in heat), max(value for _, value in heat)
        step = nice_step(max(high - low, 10.0), 2)
        ends = (math.floor(low / step) * step, math.ceil(high / step + 1e-9) * step)
        found.append(_strip(_Reading("Temperature", "heat", _celsius, np.max), heat, ends, duration))
    for reading, values, least in (
        (_Reading("Work of others, of all cores", "others", _share, np.max), others, 0.0),
        (_Reading("Waiting for memory", "waiting", _share, np.max), waiting, _LEAST_WAITING),
    ):
        top = max((value for _, value in values), default=-1.0)
        if top >= least:
            found.append(_strip(reading, values, (0.0, max(_LEAST_SHARE, top)), duration))
    return tuple(found)


@dataclass(frozen=True)
class _Reading:
    """How a reading is called, coloured and written, and which of many neighbours stands for all of them."""

    name: str
    kind: str
    written: Callable[[float], str]
    chosen: Callable[[Values], float]


def _strip(
    reading: _Reading, values: Sequence[tuple[float, float]], ends: tuple[float, float], duration: float
) -> Strip:
    low, high = ends
    groups = np.array_split(np.asarray(values, np.float64), min(_COLUMNS, len(values)))
    line = [
        _point(min(100.0, percent(float(group[:, 0].mean()), duration)), float(reading.chosen(group[:, 1])), high, low)
        for group in groups
    ]
    # The first and the last reading stand for the ends of the run, which are closer than the next reading.
    line = [f"0.00,{line[0].partition(',')[2]}", *line, f"100.00,{line[-1].partition(',')[2]}"]
    least, most = (reading.written(pick(value for _, value in values)) for pick in (min, max))
    extent = most if least == most else f"{least} to {most}"
    marks = tuple(Tick(at, reading.written(end).partition(" ")[0]) for at, end in ((0.0, low), (100.0, high)))
    area = f"0,100 {' '.join(line)} 100,100"
    return Strip(reading.kind, " ".join(line), area, marks, f"{reading.name}: {extent}")


def _told(moments: Sequence[Moment], reading: Callable[[Moment], float | None]) -> list[tuple[float, float]]:
    return [(moment.at_s, value) for moment in moments if (value := reading(moment)) is not None]


def _mhz(value: float) -> str:
    return f"{value:.0f} MHz"


def _celsius(value: float) -> str:
    return f"{value:.0f} °C"


def _share(value: float) -> str:
    return f"{100 * value:.0f}%"


_READINGS: tuple[
    tuple[str, Callable[[Moment], float | None], Callable[[list[float]], float], Callable[[float], str]], ...
]
_READINGS = (
    ("slowest clock", lambda moment: moment.frequency_mhz, min, _mhz),
    ("hottest", lambda moment: moment.temperature_c, max, _celsius),
    ("others", lambda moment: moment.others, max, _share),
)


def _columns(arrays: dict[str, Values], moments: Sequence[Moment]) -> tuple[str, ...]:
    machine = [name for name, reading, _, _ in _READINGS if any(reading(moment) is not None for moment in moments)]
    slowed = ["slowed by"] if any(moment.throttled is not None for moment in moments) else []
    return (*(f"{name} {what}" for name in arrays for what in ("p50 ms", "max ms")), *machine, *slowed)


def _pieces(
    arrays: dict[str, Values], places: Values, moments: Sequence[Moment], lanes: Sequence[Lane], duration: float
) -> tuple[Piece, ...]:
    """Cut the run into equal times; a time without a frame or a reading has dashes."""
    count = max(1, min(_PIECES, len(places)))
    which = np.minimum((places * count / 100).astype(int), count - 1)
    rows = []
    for index in range(count):
        start, end = duration * index / count, duration * (index + 1) / count
        cells: list[str] = []
        for values in arrays.values():
            mine = values[which[: len(values)] == index]
            cells += (
                [milliseconds(float(np.median(mine))), milliseconds(float(mine.max()))] if len(mine) else [UNKNOWN] * 2
            )
        here = [
            moment for moment in moments if start <= moment.at_s < end or (index == count - 1 and moment.at_s >= start)
        ]
        for _, reading, chosen, written in _READINGS:
            if any(reading(moment) is not None for moment in moments):
                told = [value for moment in here if (value := reading(moment)) is not None]
                cells.append(written(chosen(told)) if told else UNKNOWN)
        if any(moment.throttled is not None for moment in moments):
            share = (100 * index / count, 100 * (index + 1) / count)
            names = [
                lane.name
                for lane in lanes
                if any(span.left < share[1] and span.left + span.width > share[0] for span in lane.spans)
            ]
            cells.append(", ".join(names) or "nothing")
        rows.append(Piece(f"{start:.1f}–{end:.1f} s", tuple(cells)))
    return tuple(rows)
