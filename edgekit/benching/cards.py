"""What a bench report says of the model, the engine, the run and the machine, as lists of facts in words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device_runtime.contract.bench import BenchReport, Interval, Moment
from device_runtime.machine import appeared_since, decode_throttled
from edgekit.reporting.axes import UNKNOWN, memory, milliseconds
from edgekit.reporting.page import Card, count_of

NOT_TOLD = "not told by this machine"

_CONDITIONS = 4


@dataclass(frozen=True)
class ThrottleRow:
    """A condition of ``vcgencmd get_throttled``: whether it held before, at some time during and after the run.

    ``since_boot`` is what the sticky bit said after the run, and ``held`` whether anything here concerns the run.
    """

    name: str
    cells: tuple[str, ...]
    held: bool


@dataclass(frozen=True)
class Throttle:
    """The bits of ``vcgencmd get_throttled`` one by one. ``raw`` are the readings in hexadecimal."""

    columns: tuple[str, ...]
    rows: tuple[ThrottleRow, ...]
    raw: str


def cards_of(report: BenchReport) -> tuple[Card, ...]:
    """Return what is known of the model, the engine and the run."""
    engine = report.engine
    model = (
        ("Name", report.model.name),
        ("Input", report.model.input),
        ("File size", memory(report.model.size_bytes)),
        ("SHA-256", report.model.sha256),
        *((("Release", report.release),) if report.release else ()),
    )
    ran = (
        ("Engine", f"{engine.name} {engine.version}"),
        ("Threads", str(engine.threads)),
        ("Operators run by", "XNNPACK" if engine.delegate == "xnnpack" else engine.delegate),
        ("Load time", f"{milliseconds(report.load_ms)} ms"),
    )
    run = (
        *((("Target", report.target),) if report.target else ()),
        ("Source", report.source),
        ("Measured", f"{report.duration_s:.1f} s, {count_of(report.frames, 'frame')}"),
        ("Warm-up", warm_up(report)),
        ("Dropped", count_of(report.dropped, "frame")),
        *((("Beside", report.beside),) if report.beside else ()),
        *((("Measuring costs", harness(report)),) if report.harness_us is not None else ()),
        ("Date", moment_of(report.created)),
    )
    return Card("Model", model), Card("Engine", ran), Card("Run", run)


def machine_of(report: BenchReport) -> Card:
    """Return what the machine was, and how it was doing from the beginning of the run to its end."""
    before, after, during = report.before, report.after, report.during
    clock = [before.frequency_mhz, *(moment.frequency_mhz for moment in during), after.frequency_mhz]
    heat = [before.temperature_c, *(moment.temperature_c for moment in during), after.temperature_c]
    facts = (
        *((("Emulated by", before.emulated),) if before.emulated else ()),
        ("CPU", f"{before.cpu} ({before.machine})"),
        ("Board", before.board or NOT_TOLD),
        ("Cores", str(before.cores)),
        ("Memory", f"{before.memory_bytes / 1e9:.1f} GB" if before.memory_bytes is not None else NOT_TOLD),
        ("Governor", _change(before.governor, after.governor)),
        ("Clock", _course(clock, " MHz", lowest=True)),
        ("Temperature", _course(heat, " °C", 1)),
        *((("Throttling", NOT_TOLD),) if throttle_of(report) is None else ()),
        ("Load before", NOT_TOLD if before.load_1min is None else f"{before.load_1min:.2f} (1 min average)"),
        *_shares(during),
        ("Kernel", before.kernel),
        ("Python", before.python),
    )
    return Card("Machine", facts)


def throttle_of(report: BenchReport) -> Throttle | None:
    """Return the firmware's bits one by one; None where the machine does not tell them."""
    before, after = report.before.throttled, report.after.throttled
    seen = [moment.throttled for moment in report.during if moment.throttled is not None]
    if before is None and after is None and not seen:
        return None
    first = before if before is not None else seen[0] if seen else after or 0
    last = after if after is not None else seen[-1] if seen else first
    meanwhile = 0
    for bits in seen:
        meanwhile |= bits | appeared_since(first, bits)
    appeared = appeared_since(first, last)
    readings = [("before", before), ("during", meanwhile | appeared if seen or appeared else None), ("after", after)]
    known = [(name, bits) for name, bits in readings if bits is not None]
    rows = []
    for bit in range(_CONDITIONS):
        (name,), _ = decode_throttled(1 << bit)
        held = [bool(bits & 1 << bit) for _, bits in known]
        boot = name in decode_throttled(last)[1]
        rows.append(ThrottleRow(name, tuple("yes" if here else "no" for here in (*held, boot)), any(held)))
    raw = ", ".join(f"0x{bits:x} {name}" for name, bits in (("before", before), ("after", after)) if bits is not None)
    return Throttle((*(name for name, _ in known), "since boot"), tuple(rows), raw)


def warm_up(report: BenchReport) -> str:
    """Say how long the warm-up was and how it ended."""
    how = "" if report.steady else "; latencies had not settled"
    return f"{count_of(report.warmup_frames, 'frame')}, not counted{how}"


def harness(report: BenchReport) -> str:
    """Say what measuring itself costs, and what that is of a frame; empty when it was not measured."""
    if report.harness_us is None:
        return ""
    share = report.harness_us / 1e3 / report.stages["total"].mean if report.stages["total"].mean > 0 else 0.0
    return f"{report.harness_us:.3g} µs per frame ({100 * share:.2g}% of total)"


def moment_of(created: str) -> str:
    """Return a time in ISO 8601 for people, and what is none as it is."""
    try:
        moment = dt.datetime.fromisoformat(created)
    except ValueError:
        return created
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".rstrip()


def interval_in_words(interval: Interval | None) -> str:
    """Return an interval in ms for people; empty where it is not known."""
    return "" if interval is None else f"{milliseconds(interval.low)}–{milliseconds(interval.high)}"


def _course(readings: Sequence[float | None], unit: str, digits: int = 0, *, lowest: bool = False) -> str:
    """Say where a reading began and ended, and how far it went between."""
    known = [value for value in readings if value is not None]
    if not known:
        return NOT_TOLD

    def written(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:.{digits}f}{unit}"

    ends = _change(written(readings[0]), written(readings[-1]))
    low, high = written(min(known)), written(max(known))
    if low == high or len(known) <= 2:
        return ends
    return f"{ends}; from {low} to {high}" if lowest else f"{ends}; at most {high}"


def _shares(during: Sequence[Moment]) -> tuple[tuple[str, str], ...]:
    def told(name: str, reading: Callable[[Moment], float | None]) -> tuple[tuple[str, str], ...]:
        values = [value for moment in during if (value := reading(moment)) is not None]
        if not values:
            return ()
        return ((name, f"{100 * sum(values) / len(values):.1f}% on average, at most {100 * max(values):.0f}%"),)

    return (
        *told("Work of others", lambda moment: moment.others),
        *told("Memory pressure", lambda moment: moment.waiting),
    )


def _change(before: str | None, after: str | None) -> str:
    if before is None and after is None:
        return NOT_TOLD
    return before or "" if before == after else f"{before or UNKNOWN} → {after or UNKNOWN}"
