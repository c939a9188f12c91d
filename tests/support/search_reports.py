"""Reports of searches as ``edgekit convert --recipe auto`` would make them."""

import dataclasses

from converters.interface import (
    Candidate,
    Confirmation,
    Interval,
    LayerError,
    SearchOptions,
    SearchReport,
    SplitSizes,
)
from converters.recipe import RECIPES

BASELINE = 0.98


def candidate(name, metric=None, ms=None, size=0, status="ok", **changes):
    """Return a candidate of a known recipe; a confidence interval of one point goes around what it lost."""
    drop = None if metric is None else 100 * (BASELINE - metric)
    recipe = RECIPES.get(name, RECIPES["static-int8"])
    made = Candidate(
        name,
        dataclasses.replace(recipe, name=name),
        status,
        size_bytes=size,
        metric=metric,
        drop=None if drop is None else Interval(drop, drop - 0.5, drop + 0.5),
        snr_db=None if metric is None else 20.0,
        latency_ms={} if ms is None else {"litert": {"1": ms, "2": ms * 0.6}},
        partitions={} if ms is None else {"litert": 2},
    )
    return dataclasses.replace(made, **changes)


CANDIDATES = (
    candidate("float32", 0.98, 13.8, 13_900_000, on_frontier=True),
    candidate("float16", 0.98, 14.3, 7_000_000),
    candidate("dynamic-int8", 0.978, 28.6, 3_740_000),
    candidate("weight-only-int8", 0.979, 14.1, 3_740_000),
    candidate("static-int8", 0.962, 8.5, 3_940_000, "missed", on_frontier=True, reason="1.80 points less"),
    candidate("static-int8+equalise", 0.975, 8.6, 3_940_000, on_frontier=True),
    candidate("static-int8+float-hard-swish", 0.9755, 9.1, 4_100_000, on_frontier=True),
    candidate("weight-only-int4", 0.31, 13.9, 2_100_000, "missed", reason="67.00 points less"),
    candidate("static-int4", status="refused", reason="output scores has 1.2 dB signal to noise"),
    candidate("static-int8+keep-1", status="left-out", reason="the same file as static-int8"),
)

LAYERS = tuple(
    LayerError(f"model/block_{index}/expand/conv;fused", "CONV_2D" if index % 3 else "DEPTHWISE_CONV_2D", db, 0.99)
    for index, db in enumerate([42.0, 38.0, 35.0, 12.0, 33.0, 31.0, 9.5, 30.0, 29.0, 28.0, 27.5, 27.0, 26.0, 25.0] * 4)
)


def search_report(**changes) -> SearchReport:
    """Return a search that found a model and confirmed it, with these differences."""
    report = SearchReport(
        source="mobilenet.keras",
        options=SearchOptions(),
        metric="top1",
        runtimes=("litert",),
        baseline=BASELINE,
        candidates=CANDIDATES,
        chosen="static-int8+equalise",
        pictures=SplitSizes(100, 500, 500),
        confirmation=Confirmation(500, 0.978, Interval(0.974, 0.956, 0.985), Interval(0.4, -0.1, 0.9), enough=True),
        layers=LAYERS,
        guilty=(LAYERS[6].title, LAYERS[20].title),
        advice=(),
        seconds=94.6,
    )
    return dataclasses.replace(report, **changes)
