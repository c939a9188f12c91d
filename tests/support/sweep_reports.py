"""Sweeps as ``edgekit bench --sweep`` would report them."""

import dataclasses
from itertools import product

from device_runtime.contract.bench import Interval, ModelFacts
from device_runtime.contract.reported import ReportedError
from edgekit.benching.pareto import with_front
from edgekit.benching.recommend import recommend
from edgekit.benching.sweep_report import Accuracy, Axis, PointLatency, Setting, SweepPoint, SweepReport
from tests.support.bench_reports import bench_report

_MS = {"float32": 41.0, "float16": 40.2, "dynamic-int8": 28.6, "static-int8": 14.8}
_SIZES = {"float32": 13_900_000, "float16": 7_000_000, "dynamic-int8": 3_740_000, "static-int8": 3_940_000}
_TOP1 = {"float32": 0.951, "float16": 0.951, "dynamic-int8": 0.949, "static-int8": 0.943}
_FASTER = {1: 1.0, 2: 0.58, 4: 0.41}


def sweep_point(number, setting, ms, size=1_000_000, accuracy=None, **changes) -> SweepPoint:
    """Return a point that was measured in three rounds, with these differences."""
    measured = SweepPoint(
        number,
        setting,
        ModelFacts("belt", "ab" * 32, size, "1x160x160x3 int8"),
        PointLatency(ms, ms * 1.2, Interval(ms * 0.98, ms * 1.02), Interval(ms * 1.1, ms * 1.3), 900, 3),
        None if accuracy is None else Accuracy("top1", accuracy, 500, Interval(accuracy - 0.012, accuracy + 0.011)),
        runs=(bench_report(samples_ms={}),),
    )
    return dataclasses.replace(measured, **changes)


def sweep_of(*points, **changes) -> SweepReport:
    """Return a sweep with these points, as it would judge them, with these differences."""
    report = SweepReport(
        created="2026-03-01T09:30:00+00:00",
        model="belt",
        source="synthetic:belt",
        axes=(Axis("recipe", tuple(_MS)), Axis("threads", ("1", "2", "4"))),
        points=tuple(points),
        rounds=3,
        duration_s=12.0,
        seed=0,
        dataset="images/evaluation" if any(point.accuracy for point in points) else None,
    )
    report = dataclasses.replace(report, **changes)
    report = dataclasses.replace(report, points=with_front(report.points, report.percentile))
    return dataclasses.replace(report, recommended=changes.get("recommended", recommend(report)))


def sweep_report(**changes) -> SweepReport:
    """Return a sweep of four recipes and three numbers of threads: one point failed, and one was disturbed."""
    points = []
    for number, (recipe, threads) in enumerate(product(_MS, (1, 2, 4)), start=1):
        setting = Setting(recipe=recipe, threads=threads)
        points.append(sweep_point(number, setting, _MS[recipe] * _FASTER[threads], _SIZES[recipe], _TOP1[recipe]))
    failed = ReportedError("engine-failed", "the engine gave no answer within 60 s", "edgekit doctor", 1)
    points[8] = dataclasses.replace(points[8], latency=None, accuracy=None, error=failed)
    points[4] = dataclasses.replace(
        points[4], disturbed=("others took 31% of the cores: their work is in these figures",)
    )
    return sweep_of(*points, **changes)
