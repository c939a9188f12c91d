"""The operator table of a bench report: the slowest ones, the rest of them, and the totals by type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from device_runtime.contract.bench import OperatorProfile, OperatorTime
from edgekit.benching.figures import Bar, bars
from edgekit.reporting.axes import milliseconds
from edgekit.reporting.page import count_of

_SHOWN = 12
"""Rows of the table; one more operator than that is shown, too, because folding it away takes as much room."""

_MUCH = 0.25
"""A profile that makes the model slower by more than this tells little of times."""

_LEAST_MS = 0.0005


@dataclass(frozen=True)
class OperatorRow:
    """An operator in the table, in its words. ``length`` is 0–100 of the slowest one's."""

    index: int
    type: str
    name: str
    ms: str
    share: str
    length: float


@dataclass(frozen=True)
class Operators:
    """The ``top`` operators by time; all others are ``rest``, in the order of the model, and together ``others``."""

    top: tuple[OperatorRow, ...]
    rest: tuple[OperatorRow, ...]
    others: str
    types: tuple[Bar, ...]
    note: str


def operators_of(profile: OperatorProfile | None) -> Operators | None:
    """Return the table of a profile; None when there is none, or it is empty."""
    if profile is None or not profile.operators:
        return None
    by_time = profile.slowest
    shown = by_time if len(by_time) <= _SHOWN + 1 else by_time[:_SHOWN]
    hidden = sorted(by_time[len(shown) :], key=lambda each: each.index)
    slowest = by_time[0].mean_ms
    others = ""
    if hidden:
        time, share = sum(each.mean_ms for each in hidden), sum(each.share for each in hidden)
        others = f"{count_of(len(hidden), 'other operator')}: {_ms(time)} ms, {100 * share:.1f}%"
    return Operators(
        tuple(_row(each, slowest) for each in shown),
        tuple(_row(each, slowest) for each in hidden),
        others,
        _types(profile.operators),
        _note(profile),
    )


def _note(profile: OperatorProfile) -> str:
    longer = max(0.0, profile.overhead)
    told = (
        f"From {count_of(profile.inferences, 'inference')} of their own, in no other figure. The operators cover "
        f"{100 * profile.covered:.0f}% of the time of invoke; with the profile it took {100 * longer:.1f}% longer than "
        "without."
    )
    return (
        f"{told} Operators this quick are hard to time: look at shares rather than times." if longer > _MUCH else told
    )


def _ms(value: float) -> str:
    """Return a time in ms; what is shorter than half a microsecond is not 0."""
    return milliseconds(value) if value == 0 or value >= _LEAST_MS else f"< {milliseconds(2 * _LEAST_MS)}"


def _types(operators: Sequence[OperatorTime]) -> tuple[Bar, ...]:
    groups: dict[str, list[OperatorTime]] = defaultdict(list)
    for each in operators:
        groups[each.type].append(each)
    rows = []
    for name, group in groups.items():
        time, share = sum(each.mean_ms for each in group), sum(each.share for each in group)
        title = f"{name} ×\N{NO-BREAK SPACE}{len(group)}"
        rows.append((title, "p50", time, f"{_ms(time)} ms, {100 * share:.1f}%"))
    return bars(sorted(rows, key=lambda row: -row[2]))


def _row(each: OperatorTime, slowest: float) -> OperatorRow:
    (bar,) = bars([(each.name, "p50", each.mean_ms, _ms(each.mean_ms))], slowest)
    return OperatorRow(each.index, each.type, each.name, bar.value, f"{100 * each.share:.1f}%", bar.length)
