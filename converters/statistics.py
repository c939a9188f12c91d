"""Confidence intervals: how sure a figure that was measured on so many pictures is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from converters.interface import Interval

Z95 = 1.959964
"""Half of a 95% interval of the normal distribution, in standard deviations."""

_RESAMPLES = 400
_STEPS = 60


def proportion(hits: int, count: int) -> Interval:
    """Return a share with Wilson's score interval.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209–212.

    Args:
        hits: how many of ``count`` are counted, 0 to ``count``.
        count: 1 or more.
    """
    share, z2 = hits / count, Z95 * Z95
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def paired_difference(only_first: int, only_second: int, count: int) -> Interval:
    """Return how much larger the first of two shares is, both counted on the same samples.

    T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17 (1998), 891–908. Unlike the usual interval it does not shrink to nothing where both
    agree everywhere: that is what few samples look like.

    Args:
        only_first: samples that count for the first share only.
        only_second: samples that count for the second share only.
        count: all samples, 1 or more.
    """
    value = (only_first - only_second) / count

    def statistic(delta: float) -> float:
        linear = -only_first - only_second + (2 * count - only_first + only_second) * delta
        constant = -only_second * delta * (1 - delta)
        share = (math.sqrt(max(linear * linear - 8 * count * constant, 0.0)) - linear) / (4 * count)
        variance = count * (2 * share + delta * (1 - delta))
        distance = only_first - only_second - count * delta
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    low = _crossing(lambda delta: statistic(delta) - Z95, -1.0, value)
    high = _crossing(lambda delta: statistic(delta) + Z95, value, 1.0)
    return Interval(value, low, high)


def bootstrapped(figure: Callable[[npt.NDArray[np.int64]], float], count: int, seed: int) -> Interval:
    """Return a figure over ``count`` samples with its percentile bootstrap interval.

    B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Args:
        figure: what to compute from the positions of samples; it takes some twice and leaves some out.
        count: all samples, 1 or more.
        seed: equal seeds give equal intervals.
    """
    value = figure(np.arange(count))
    generator = np.random.default_rng(seed)
    drawn = [figure(generator.integers(0, count, count)) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Interval(value, min(value, float(low)), max(value, float(high)))


def samples_needed(interval: Interval, count: int, limit: float) -> int:
    """Estimate how many samples it takes for an interval to end below ``limit``; 0 when this one does.

    Intervals shrink with the square root of the number of samples. When ``interval.value`` itself is not below the
    limit, no number is enough, and the estimate is for an interval as wide as the limit.
    """
    if interval.high <= limit:
        return 0
    room = limit - interval.value if interval.value < limit else limit
    if room <= 0:
        room = 1.0 / count
    return math.ceil(count * ((interval.high - interval.value) / room) ** 2)


def _crossing(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function is 0, by bisection."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
