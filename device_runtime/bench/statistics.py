"""What samples of latencies say, and how sure that is: percentiles, and intervals by a bootstrap over blocks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from device_runtime.contract.bench import CONFIDENCE, Interval, LatencyStats

Values = Sequence[float] | npt.NDArray[np.float64]
"""Latencies of one run in the order in which they were measured, (n,) in ms."""

SAMPLES_FOR_P90 = 64
SAMPLES_FOR_P95 = 130
SAMPLES_FOR_P99 = 662
"""The early-stopping rule of MLPerf Inference's LoadGen (``MinPassingQueriesFinder`` with a confidence of 99%): the
smallest count at which no more than one sample above the true percentile has a chance of at most 1%, see
``samples_needed``. With fewer samples than that, the largest of them says next to nothing about the percentile."""

NEEDED_SAMPLES = {"p90": SAMPLES_FOR_P90, "p95": SAMPLES_FOR_P95, "p99": SAMPLES_FOR_P99}
"""From how many samples on a percentile is told."""

SAMPLES_FOR_INTERVAL = SAMPLES_FOR_P90
"""From how many samples on the median gets an interval: with fewer, a block would have less than six."""

BLOCKS = 12
"""A run is resampled in blocks of a twelfth of it.

What disturbs a run lasts: a clock that falls, another process. So blocks are as long as they can be while there are
enough of them: 10 to 30 (B. Schmeiser, Batch size effects in the analysis of simulation output, Operations Research 30
(1982), 556–568). Simulated with AR(1) noise (300 runs each), the 95% intervals of the median of 1,000 samples held it
in 96, 95 and 92% of the runs where neighbours had a correlation of 0, 0.5 and 0.9; of 300 samples in 96, 93 and 90%; of
64 in 94, 92 and 71%. Those of p99 of 1,000 samples held it in 93, 91 and 75%.
"""

_RESAMPLES = 1000
_CELLS = 8
"""Blocks begin at every eighth of their length: they overlap as in a moving-block bootstrap, at a cost that does not
grow with the number of samples."""

_CANDIDATES = 128
_REACH = 5.0
"""So many order statistics, within so many standard errors of the quantile, stand for all of its possible values."""

_LEAST_MS = 1e-6
"""What the clock resolves, 1 ns: a stage that took nothing has a ratio to others all the same."""


def samples_needed(quantile: float) -> int:
    """Return the smallest n at which P(X ≤ 1) ≤ 1%, where X of n samples lie above the true ``quantile`` (0–1)."""
    count = 2
    while quantile**count + count * (1 - quantile) * quantile ** (count - 1) > 0.01:
        count += 1
    return count


def summarise(values: Values) -> LatencyStats:
    """Return the statistics of at least one latency in ms, which stand in the order of the run.

    Percentiles are interpolated linearly. What there are too few samples for is None; see ``NEEDED_SAMPLES``.
    """
    data = np.asarray(values, np.float64)
    count = len(data)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(data, (50, 90, 95, 99)))
    return LatencyStats(
        count=count,
        mean=float(np.clip(data.mean(), data.min(), data.max())),  # a sum of equal values may be off by its last bit
        p50=p50,
        min=float(data.min()),
        max=float(data.max()),
        p90=p90 if count >= SAMPLES_FOR_P90 else None,
        p95=p95 if count >= SAMPLES_FOR_P95 else None,
        p99=p99 if count >= SAMPLES_FOR_P99 else None,
        p50_interval=quantile_interval(data, 0.5) if count >= SAMPLES_FOR_INTERVAL else None,
        p99_interval=quantile_interval(data, 0.99) if count >= SAMPLES_FOR_P99 else None,
    )


def quantile_interval(values: Values, quantile: float) -> Interval:
    """Return where the quantile (0–1) of the process behind ``values`` lies with ``CONFIDENCE``.

    The same values give the same interval. It holds the quantile of ``values`` themselves.
    """
    data = np.asarray(values, np.float64)
    low, high = _middle(bootstrap(data, quantile))
    own = float(np.quantile(data, quantile))
    return Interval(min(low, own), max(high, own))


def ratio_interval(before: Values, after: Values, quantile: float) -> Interval:
    """Return where the ratio after / before of two runs' quantiles (0–1) lies with ``CONFIDENCE``.

    The runs are independent of each other, and need not be of the same length. It knows what varied within them, and
    not what differs between any two runs: where the allocator put the model, say.
    """
    data = [np.asarray(values, np.float64) for values in (before, after)]
    # Each run has random numbers of its own: the same ones for equal runs would say that they cannot differ.
    logs = [np.log(np.maximum(bootstrap(values, quantile, stream), _LEAST_MS)) for stream, values in enumerate(data)]
    low, high = (math.exp(bound) for bound in _middle(logs[1] - logs[0]))
    one, two = (max(float(np.quantile(values, quantile)), _LEAST_MS) for values in data)
    return Interval(min(low, two / one), max(high, two / one))


def bootstrap(values: Values, quantile: float, stream: int = 0) -> npt.NDArray[np.float64]:
    """Return the quantile of each of many resamples of a run, (1000,) in the unit of ``values``.

    A resample is made of ``BLOCKS`` blocks of neighbours, which may overlap (H. R. Künsch, The jackknife and the
    bootstrap for general stationary observations, Annals of Statistics 17 (1989), 1217–1241). Nothing is copied for it:
    how many samples of a block lie at or below each of some order statistics is counted once, and a resample's
    distribution is the mean of its blocks'. That mean is spread by what Student's t has over the normal distribution,
    because so few blocks do not know their own variance.

    Args:
        values: at least one sample, in the order of the run.
        quantile: which one, 0–1.
        stream: random numbers come from the values and from this.
    """
    data = np.asarray(values, np.float64)
    ordered = np.sort(data)
    layout = _Layout.of(len(data))
    spread = _spread(layout.drawn)
    above = layout.counts((data > np.quantile(data, quantile)).astype(np.int64), 2)[:, 0]
    binomial = math.sqrt(len(data) * quantile * (1 - quantile))
    reach = _REACH * (spread * math.sqrt(layout.drawn) * float(above.std()) + binomial) + 1
    middle = quantile * (len(data) - 1)
    first, last = max(0, math.floor(middle - reach)), min(len(data) - 1, math.ceil(middle + reach))
    candidates = ordered[np.unique(np.linspace(first, last, _CANDIDATES).astype(np.int64))]
    places = np.searchsorted(candidates, data, side="left")
    shares = layout.counts(places, len(candidates) + 1)[:, :-1] / layout.length
    rng = np.random.default_rng([zlib.crc32(np.ascontiguousarray(data).tobytes()), stream])
    picks = rng.integers(0, len(shares), (_RESAMPLES, layout.drawn)) + np.arange(_RESAMPLES)[:, None] * len(shares)
    weights = np.bincount(picks.ravel(), minlength=_RESAMPLES * len(shares)).reshape(_RESAMPLES, len(shares))
    own = np.searchsorted(ordered, candidates, side="right") / len(data)
    # Around the run's own distribution: the samples at its ends are in fewer blocks than the others.
    resampled = own + spread * ((weights / layout.drawn) @ shares - shares.mean(axis=0))
    reached = resampled >= quantile - 1e-9
    found: npt.NDArray[np.float64] = candidates[np.where(reached.any(axis=1), reached.argmax(axis=1), -1)]
    return found


class _Layout:
    """How a run is cut: ``cells`` of ``step`` samples, ``wide`` cells in a block, ``drawn`` blocks in a resample."""

    def __init__(self, count: int, step: int, wide: int) -> None:
        self.step = step
        self.wide = wide
        self.cells = count // step
        self.length = step * wide
        self.drawn = max(2, round(count / self.length))

    @classmethod
    def of(cls, count: int) -> _Layout:
        """Cut ``count`` samples, 1 or more."""
        length = math.ceil(count / BLOCKS)
        step = max(1, length // _CELLS)
        return cls(count, step, math.ceil(length / step))

    def counts(self, places: npt.NDArray[np.int64], kinds: int) -> npt.NDArray[np.int64]:
        """Return for each block how many of its samples have each place or a lower one, (blocks, kinds).

        ``places`` are (n,) in 0 to ``kinds`` - 1.
        """
        used = self.cells * self.step
        cell = np.arange(used) // self.step
        flat = np.bincount(cell * kinds + places[:used], minlength=self.cells * kinds)
        sums = np.zeros((self.cells + 1, kinds), np.int64)
        np.cumsum(flat.reshape(self.cells, kinds).cumsum(axis=1), axis=0, out=sums[1:])
        counted: npt.NDArray[np.int64] = sums[self.wide :] - sums[: -self.wide]
        return counted


def _spread(blocks: int) -> float:
    """Return by how much Student's 97.5% quantile with ``blocks`` - 1 degrees of freedom exceeds the normal one.

    The first terms of its expansion (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5), and the bias
    of a variance that is taken around its own mean.
    """
    z, df = 1.959964, blocks - 1
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    return t / z * math.sqrt(blocks / (blocks - 1))


def _middle(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
