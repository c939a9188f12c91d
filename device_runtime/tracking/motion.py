"""Where tracked boxes are by now: a Kalman filter with constant velocity, for all boxes at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device_runtime.vision.placement import Boxes

States = npt.NDArray[np.float64]

# Standard deviations as shares of the box's side: Wojke et al., "Simple online and realtime tracking with a deep
# association metric" (ICIP 2017), as in their implementation; of each side by itself as in Aharon et al., "BoT-SORT"
# (2022), equations 3–6.
_PLACE = 1 / 20
_PACE = 1 / 160
# Theirs are per frame of videos with about 30 frames a second; here time is in seconds.
_FRAMES_PER_S = 30.0


class Motion:
    """The places and velocities of n boxes, with their uncertainties.

    A box is (centre x, centre y, width, height) and the velocities thereof. With noises that are independent per
    coordinate, as those of DeepSORT and BoT-SORT are, its 8 x 8 covariance stays four blocks of 2 x 2: each coordinate
    is a filter of its own, and none needs the inverse of a matrix.
    """

    def __init__(self) -> None:
        self._place: States = np.empty((0, 4))
        self._pace: States = np.empty((0, 4))
        # The entries of each 2 x 2 covariance: of the place, of place and pace, of the pace.
        self._place_var: States = np.empty((0, 4))
        self._both_var: States = np.empty((0, 4))
        self._pace_var: States = np.empty((0, 4))

    def __len__(self) -> int:
        return len(self._place)

    def boxes(self) -> States:
        """Return where the boxes are: (n, 4) float64 x1 y1 x2 y2."""
        centres, halves = self._place[:, :2], np.maximum(self._place[:, 2:], 0) / 2
        return np.concatenate([centres - halves, centres + halves], axis=1)

    def add(self, boxes: Boxes | States) -> None:
        """Append new boxes, (k, 4) x1 y1 x2 y2, that stand still as far as anybody knows."""
        place = _to_state(boxes)
        side = _sides(place)
        self._append(place, np.zeros_like(place))
        self._place_var = np.concatenate([self._place_var, (2 * _PLACE * side) ** 2])
        self._both_var = np.concatenate([self._both_var, np.zeros_like(side)])
        self._pace_var = np.concatenate([self._pace_var, (10 * _PACE * _FRAMES_PER_S * side) ** 2])

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        """Forget all others."""
        self._place, self._pace = self._place[which], self._pace[which]
        self._place_var, self._both_var = self._place_var[which], self._both_var[which]
        self._pace_var = self._pace_var[which]

    def scale(self, x: float, y: float) -> None:
        """Multiply all coordinates: the frames have another size from now on."""
        factor = np.array([x, y, x, y])
        self._place, self._pace = self._place * factor, self._pace * factor
        self._place_var, self._both_var = self._place_var * factor**2, self._both_var * factor**2
        self._pace_var = self._pace_var * factor**2

    def advance(self, elapsed_s: float, lost: npt.NDArray[np.bool_]) -> None:
        """Let time pass; ``lost`` (n,) boxes keep their size, which else would run away unseen.

        Kalman (1960), equations 24–25 with x' = x + v t. The noise of the model grows with time.
        """
        if not len(self):
            return
        self._pace[lost, 2:] = 0.0
        noise = _sides(self._place) ** 2 * (elapsed_s * _FRAMES_PER_S)
        self._place = self._place + self._pace * elapsed_s
        self._place_var = (
            self._place_var + 2 * elapsed_s * self._both_var + elapsed_s**2 * self._pace_var + noise * _PLACE**2
        )
        self._both_var = self._both_var + elapsed_s * self._pace_var
        self._pace_var = self._pace_var + noise * (_PACE * _FRAMES_PER_S) ** 2

    def distances(self, which: npt.NDArray[np.int64], boxes: Boxes | States) -> States:
        """Return how far the centres of boxes, (k, 4) x1 y1 x2 y2, are from where ``which`` are expected: (m, k).

        That is DeepSORT's squared Mahalanobis distance (equation 1), of the centres: what little is known of may be far
        away.
        """
        seen = _to_state(boxes)[:, :2]
        place = self._place[which, None, :2]
        spread = self._place_var[which, None, :2] + (_PLACE * _sides(self._place[which])[:, None, :2]) ** 2
        far: States = ((seen - place) ** 2 / spread).sum(axis=2)
        return far

    def correct(self, which: list[int], boxes: Boxes | States) -> None:
        """Take in where the boxes ``which`` were seen, (k, 4) x1 y1 x2 y2, each named once."""
        if not which:
            return
        seen = _to_state(boxes)
        place_var, both_var = self._place_var[which], self._both_var[which]
        measured_var = (_PLACE * _sides(self._place[which])) ** 2
        gain = place_var / (place_var + measured_var)
        pace_gain = both_var / (place_var + measured_var)
        off = seen - self._place[which]
        self._place[which] += gain * off
        self._pace[which] += pace_gain * off
        self._place_var[which] = (1 - gain) * place_var
        self._both_var[which] = (1 - gain) * both_var
        self._pace_var[which] -= pace_gain * both_var

    def _append(self, place: States, pace: States) -> None:
        self._place = np.concatenate([self._place, place])
        self._pace = np.concatenate([self._pace, pace])


def _to_state(boxes: Boxes | States) -> States:
    corners = boxes.astype(np.float64)
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)


def _sides(place: States) -> States:
    """Return width, height, width, height of each box, 1 px at least: (n, 4)."""
    sides = np.maximum(place[:, 2:], 1.0)
    return np.concatenate([sides, sides], axis=1)
