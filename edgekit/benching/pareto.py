"""Which points of a sweep nothing beats: the Pareto front of accuracy, latency and size, judged with their noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from device_runtime.contract.bench import Interval
from edgekit.benching.sweep_report import SweepPoint


@dataclass(frozen=True)
class Cost:
    """Something that is better when it is lower, with where it may lie; an interval of None is noise of any size."""

    value: float
    interval: Interval | None = None

    @classmethod
    def exact(cls, value: float) -> Cost:
        """Return a cost without noise, as a file's size."""
        return cls(value, Interval(value, value))

    def surely_below(self, other: Cost) -> bool:
        """Whether it is lower beyond the noise of both: their intervals do not touch."""
        if self.interval is None or other.interval is None or self.value >= other.value:
            return False
        return self.interval.high < other.interval.low


Costs = tuple[Cost, ...]
"""The same criteria of each point, in the same order."""


def dominates(one: Costs, two: Costs) -> bool:
    """Tell whether ``one`` is at least as good in everything, and better beyond the noise in something.

    *At least as good* goes by the values alone. If noise were granted there, too, points could dominate each other in a
    circle, and none would be left; like this the front has a point whenever there is one.

    Args:
        one: the costs of a point.
        two: the same ones of another point.
    """
    pairs = list(zip(one, two, strict=True))
    return all(mine.value <= theirs.value for mine, theirs in pairs) and any(
        mine.surely_below(theirs) for mine, theirs in pairs
    )


def dominators(costs: Sequence[Costs]) -> tuple[tuple[int, ...], ...]:
    """Return for each point the positions of those that dominate it."""
    return tuple(tuple(place for place, theirs in enumerate(costs) if dominates(theirs, own)) for own in costs)


def latency_cost(point: SweepPoint, percentile: str) -> Cost | None:
    """Return a point's latency in ms, or None where it was not measured well enough for the percentile."""
    latency = point.latency
    value = getattr(latency, percentile) if latency is not None else None
    return None if value is None else Cost(value, getattr(latency, f"{percentile}_interval"))


def accuracy_cost(point: SweepPoint) -> Cost | None:
    """Return what a point's accuracy lacks, or None where it was not measured."""
    found = point.accuracy
    if found is None:
        return None
    if not found.higher_is_better:
        return Cost(found.value, found.interval)
    bounds = found.interval
    return Cost(-found.value, None if bounds is None else Interval(-bounds.high, -bounds.low))


def comparable(points: Sequence[SweepPoint], percentile: str) -> tuple[SweepPoint, ...]:
    """Return the points whose figures can be held against each other.

    They were measured, and their accuracy is known where that of any is. Those that were disturbed are left out, as
    long as others remain: their figures are no result.
    """
    judged = any(point.accuracy is not None and point.latency is not None for point in points)
    measured = [
        point
        for point in points
        if latency_cost(point, percentile) is not None
        and point.model is not None
        and (point.accuracy is not None or not judged)
    ]
    return tuple(point for point in measured if not point.disturbed) or tuple(measured)


def with_front(points: Sequence[SweepPoint], percentile: str) -> tuple[SweepPoint, ...]:
    """Note in each point which others dominate it, in latency, size and accuracy, and whether it is on the front."""
    compared = comparable(points, percentile)
    found = dominators([_costs(point, percentile) for point in compared])
    better = {
        point.number: tuple(compared[place].number for place in places)
        for point, places in zip(compared, found, strict=True)
    }
    return tuple(
        replace(point, dominated_by=better.get(point.number, ()), on_front=better.get(point.number) == ())
        for point in points
    )


def _costs(point: SweepPoint, percentile: str) -> Costs:
    latency, accuracy, model = latency_cost(point, percentile), accuracy_cost(point), point.model
    if latency is None or model is None:
        raise ValueError(f"point {point.number} was not measured")
    size = Cost.exact(float(model.size_bytes))
    return (latency, size) if accuracy is None else (latency, size, accuracy)
