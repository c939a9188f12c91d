"""A running application's status as lines and tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from device_runtime.contract.live import LiveStatus
from device_runtime.contract.prediction import STAGES, Item
from device_runtime.machine import decode_throttled

Tone = Literal["good", "wait", "bad"]
TONES: dict[str, Tone] = {"ok": "good", "starting": "wait", "failing": "bad"}

_BARS = "▁▂▃▄▅▆▇█"
_ITEMS = 8
_LISTED = 3
_EVENTS = 5


@dataclass(frozen=True)
class Block:
    """A table with a title; the columns with the indices in ``right`` are right-aligned."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()


@dataclass(frozen=True)
class View:
    """A screen: a line that says how it is, lines of figures, and tables."""

    headline: str
    tone: Tone
    lines: tuple[str, ...]
    blocks: tuple[Block, ...]


def make_view(status: LiveStatus, notice: str = "") -> View:
    """Return the screen; ``notice`` stands in place of the health, when the status is an old one."""
    headline = f"{_plain(status.release or status.model)}  {notice or status.health}"
    return View(
        headline,
        "bad" if notice else TONES[status.health],
        (*(_plain(reason) for reason in status.reasons), "", *_figures(status)),
        tuple(block for block in (_stages(status), _seen(status), _sinks(status), _events(status)) if block.rows),
    )


def one_line(status: LiveStatus) -> str:
    """Return the status as one line, for logs."""
    parts = [status.at[11:19], status.health, f"{status.fps:.1f}/s"]
    if status.age_ms:
        parts.append(f"age {status.age_ms.p50:.1f} ms (p95 {status.age_ms.p95:.1f})")
    parts.append(f"dropped {status.frames.get('dropped', 0)}")
    if status.temperature_c is not None:
        parts.append(f"{status.temperature_c:.0f} °C")
    if status.camera != "ok":
        parts.append(f"camera {status.camera}")
    found = status.last.items if status.last else ()
    if found:
        listed = ", ".join(_named(item) for item in found[:_LISTED])
        parts.append(listed + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""))
    parts += [_plain(reason) for reason in status.reasons]
    return "  ".join(parts)


def sparkline(values: Sequence[float]) -> str:
    """Return one letter for each value, from 0 to the largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return _BARS[0] * len(values)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in values)


def _figures(status: LiveStatus) -> list[str]:
    frames, history = status.frames, status.history
    counts = ", ".join(f"{count} {outcome}" for outcome, count in frames.items())
    lines = [
        f"{'rate':<12}{status.fps:>8.1f} /s   {sparkline(history.get('fps', ()))}",
        f"{'age':<12}{status.age_ms.p50 if status.age_ms else 0:>8.2f} ms   {sparkline(history.get('total', ()))}",
        f"{'frames':<12}{counts}",
        f"{'camera':<12}{_plain(status.source)}: {status.camera}, reopened {status.reopened} times",
        f"{'engine':<12}{_plain(status.engine)}, workers {status.workers}, viewers {status.viewers}",
    ]
    machine = []
    if status.temperature_c is not None:
        machine.append(f"{status.temperature_c:.0f} °C")
    if status.throttled is not None:
        now, since = decode_throttled(status.throttled)
        machine.append(", ".join(now) if now else f"since boot: {', '.join(since)}" if since else "not throttled")
    if status.rss_bytes is not None:
        machine.append(f"{status.rss_bytes / 1e6:.0f} MB")
    if status.cpu_percent is not None:
        machine.append(f"{status.cpu_percent:.0f} % of one core")
    return [*lines, f"{'machine':<12}{', '.join(machine)}"]


def _stages(status: LiveStatus) -> Block:
    rows = [
        (stage, f"{window.mean:.2f}", f"{window.p50:.2f}", f"{window.p95:.2f}")
        for stage in STAGES
        if (window := status.stages_ms.get(stage))
    ]
    return Block("latency, ms", ("stage", "mean", "median", "p95"), tuple(rows), (1, 2, 3))


def _seen(status: LiveStatus) -> Block:
    items = status.last.items if status.last else ()
    rows = [(_label(item), _figure(item), _place(item)) for item in items[:_ITEMS]]
    if len(items) > _ITEMS:
        rows.append((f"and {len(items) - _ITEMS} more", "", ""))
    return Block("last prediction", ("what", "score", "where, px"), tuple(rows), (1, 2))


def _sinks(status: LiveStatus) -> Block:
    rows = [
        (_plain(name), str(sink.taken), str(sink.dropped), str(sink.failed), _plain(sink.error or ""))
        for name, sink in status.sinks.items()
    ]
    return Block("sinks", ("sink", "taken", "dropped", "failed", "error"), tuple(rows), (1, 2, 3))


def _events(status: LiveStatus) -> Block:
    rows = [
        (event.at[11:19], _plain(event.rule), event.phase, _plain(event.item.label))
        for event in reversed(status.events[-_EVENTS:])
    ]
    return Block("events (UTC)", ("at", "rule", "phase", "what"), tuple(rows))


def _named(item: Item) -> str:
    return f"{_label(item)} {_figure(item)}".strip()


def _label(item: Item) -> str:
    return _plain(item.label) + (f" #{item.track}" if item.track is not None else "")


def _figure(item: Item) -> str:
    if item.area is not None:
        return f"{100 * item.area:.1f} %"
    if item.value is not None:
        return f"{item.value:.4g}"
    return "" if item.score is None else f"{item.score:.2f}"


def _place(item: Item) -> str:
    if item.box is None:
        return f"{len(item.points)} points" if item.points else ""
    x1, y1, x2, y2 = item.box
    return f"{x2 - x1:.0f} x {y2 - y1:.0f} at {x1:.0f}, {y1:.0f}"


def _plain(text: str) -> str:
    """Return a text from the board without what could steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
