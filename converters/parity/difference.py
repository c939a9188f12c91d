"""How far two models' values of one tensor are apart, summed up sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Real = npt.NDArray[np.float64]

MAX_SNR_DB = 200.0


@dataclass(frozen=True)
class Difference:
    """Running sums over samples, so that no tensor has to be in memory for all of them."""

    signal: float = 0.0
    error: float = 0.0
    cosines: float = 0.0
    worst_abs: float = 0.0
    count: int = 0

    def plus(self, wanted: Real, got: Real) -> Difference:
        """Return this with one more sample: two tensors of the same shape."""
        apart = got - wanted
        return Difference(
            self.signal + float(np.sum(wanted * wanted)),
            self.error + float(np.sum(apart * apart)),
            self.cosines + cosine(wanted.ravel(), got.ravel()),
            max(self.worst_abs, float(np.abs(apart).max(initial=0.0))),
            self.count + 1,
        )

    @property
    def snr_db(self) -> float:
        """10 log10(signal power / error power), within ±``MAX_SNR_DB``."""
        if self.error == 0.0:
            return MAX_SNR_DB
        if self.signal == 0.0 or not np.isfinite(self.error):
            return -MAX_SNR_DB
        return float(np.clip(10.0 * np.log10(self.signal / self.error), -MAX_SNR_DB, MAX_SNR_DB))

    @property
    def cosine(self) -> float:
        """The mean cosine of the samples; 1 when there is none."""
        return self.cosines / self.count if self.count else 1.0


def cosine(one: Real, two: Real) -> float:
    """Return the cosine of two flat vectors; two zero vectors are equal, a zero and another one are not."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(two))
    if lengths == 0.0:
        return float(not one.any() and not two.any())
    return float(np.clip(one @ two / lengths, -1.0, 1.0))
