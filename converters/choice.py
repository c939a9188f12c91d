"""Which candidate a search takes, and what it says when there is none: decided from figures alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from converters.interface import Candidate, Confirmation, Interval, LayerError, SearchOptions
from converters.statistics import samples_needed

_SAME_COST = 0.03
"""Relative: medians of two equal models, taken in turns, differ by up to this (benchmarks/recipes.py)."""

_GUILTY = 5
_HARMLESS_DB = 30.0
"""A thousandth of the signal's power."""

_ALIKE_DB = 3.0
"""Layers within this of the worst one are to blame with it: a factor of two in the power of the error."""


def judged(candidate: Candidate, options: SearchOptions) -> Candidate:
    """Return a candidate that could be run with its place in or out of the budget."""
    if candidate.status != "ok" or candidate.drop is None:
        return candidate
    if candidate.drop.value > options.max_drop:
        reason = f"{candidate.drop.value:.2f} points less than the trained model; the budget is {options.max_drop:g}"
        return replace(candidate, status="missed", reason=reason)
    if options.max_bytes and candidate.size_bytes > options.max_bytes:
        reason = f"{candidate.size_bytes} bytes; the budget is {options.max_bytes}"
        return replace(candidate, status="missed", reason=reason)
    return candidate


def cost(candidate: Candidate, objective: str) -> float:
    """Return what is to be small: ms on the slowest declared runtime with one thread, or bytes."""
    if objective == "size":
        return float(candidate.size_bytes)
    return max((threads["1"] for threads in candidate.latency_ms.values()), default=math.inf)


def best_first(candidates: Sequence[Candidate], objective: str) -> list[Candidate]:
    """Return the candidates that keep the budget, the best one first.

    Costs within 3% count as equal: of those the one that loses least is better, then the smaller, then the one that was
    tried first, which is the plainer recipe. To gain is luck, and counts as losing nothing.
    """
    kept = sorted((each for each in candidates if each.status == "ok"), key=lambda each: cost(each, objective))
    tried = {each.name: place for place, each in enumerate(candidates)}
    ranked: list[Candidate] = []
    while kept:
        limit = cost(kept[0], objective) * (1 + _SAME_COST)
        equal = [each for each in kept if cost(each, objective) <= limit]
        best = min(equal, key=lambda each: (max(_drop(each), 0.0), each.size_bytes, tried[each.name]))
        ranked.append(best)
        kept.remove(best)
    return ranked


def with_frontier(candidates: Sequence[Candidate], objective: str) -> tuple[Candidate, ...]:
    """Mark those that no other one beats both in accuracy and in cost."""
    scored = [each for each in candidates if each.drop is not None and math.isfinite(cost(each, objective))]

    def beaten(one: Candidate) -> bool:
        own = (_drop(one), cost(one, objective))
        return any(
            theirs != own and theirs[0] <= own[0] and theirs[1] <= own[1]
            for theirs in ((_drop(each), cost(each, objective)) for each in scored)
        )

    return tuple(replace(each, on_frontier=each in scored and not beaten(each)) for each in candidates)


def confirm(drop: Interval, metric: Interval, baseline: float, count: int, max_drop: float) -> Confirmation:
    """Return what held-out samples say of the winner; intervals and the budget are in points."""
    needed = samples_needed(drop, count, max_drop)
    return Confirmation(count, baseline, metric, drop, needed == 0, needed)


def guilty_layers(layers: Sequence[LayerError]) -> tuple[str, ...]:
    """Name the layers that cost most, the worst first: at most five, all about as bad as the worst.

    None is guilty of anything as long as the worst one alone leaves the outputs 30 dB above its noise.
    """
    worst = sorted(layers, key=lambda layer: layer.snr_db)[:_GUILTY]
    if not worst or worst[0].snr_db >= _HARMLESS_DB:
        return ()
    alike = [layer for layer in worst if layer.snr_db <= worst[0].snr_db + _ALIKE_DB]
    return tuple(layer.title for layer in alike)


def advice(
    candidates: Sequence[Candidate], options: SearchOptions, guilty: Sequence[str], confirmation: Confirmation | None
) -> tuple[str, ...]:
    """Return what would help: sentences, the most useful first."""
    found = []
    missed = [each for each in candidates if each.drop is not None and each.status == "missed"]
    kept = any(each.status == "ok" for each in candidates)
    if missed and not kept:
        nearest = min(missed, key=_drop)
        found.append(f"{nearest.name} would do with --max-drop {math.ceil(_drop(nearest) * 10) / 10:g}")
        if guilty:
            found.append(f"train with quantisation in mind, or clip the weights, where most is lost: {guilty[0]}")
    if options.candidates != ("*",) and not kept:
        found.append(f"allow more candidates than {', '.join(options.candidates)}: leave --candidates out")
    if confirmation is not None and not confirmation.enough:
        found.append(
            f"{confirmation.pictures} held-out samples cannot tell whether a budget of {options.max_drop:g} points is "
            f"kept (95% interval of the drop: {confirmation.drop.low:.2f} to {confirmation.drop.high:.2f}); about "
            f"{confirmation.pictures_needed} would"
        )
    return tuple(found)


def _drop(candidate: Candidate) -> float:
    return candidate.drop.value if candidate.drop is not None else math.inf
