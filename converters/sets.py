"""The samples of a search, split: some measure ranges, others compare candidates, the rest confirm the winner."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converters.arrays import ArrayWriter, open_array
from converters.calibration import Samples
from device_runtime.errors import BadFileError
from device_runtime.files import sha256_of
from device_runtime.vision.frame import Tensor

LEAST = 12
"""Fewer samples cannot be split into three sets that say anything."""

MOST = 500
"""Samples in the evaluation set, and in the held-out set: more take minutes with the slower engine."""


@dataclass(frozen=True)
class SplitPlan:
    """Positions of samples: three sets that have none in common."""

    calibration: tuple[int, ...]
    evaluation: tuple[int, ...]
    held_out: tuple[int, ...]


def plan_split(groups: Sequence[str], calibration: int) -> SplitPlan:
    """Split samples that are in a random order already.

    Args:
        groups: of each sample, the class it is of as far as its folder tells; each set gets its share of every group.
        calibration: how many are wanted to measure ranges; at most half of all are taken.

    Raises:
        BadFileError: there are too few.
    """
    if len(groups) < LEAST:
        raise BadFileError(
            f"a search splits the pictures into three sets: expected {LEAST} or more, got {len(groups)}",
            hint="add pictures, or name a recipe: --recipe static-int8",
        )
    dealt = _dealt(groups)
    first = min(calibration, len(dealt) // 2)
    second = min(MOST, (len(dealt) - first) // 2)
    third = min(MOST, len(dealt) - first - second)
    cuts = (0, first, first + second, first + second + third)
    return SplitPlan(*(tuple(sorted(dealt[start:end])) for start, end in itertools.pairwise(cuts)))


def _dealt(groups: Sequence[str]) -> list[int]:
    """Return positions such that every run of them has about the same share of each group."""
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    places = [((rank + 0.5) / len(own), position) for own in members.values() for rank, position in enumerate(own)]
    return [position for _, position in sorted(places)]


def subset(samples: Samples, rows: Sequence[int], target: Path) -> Samples:
    """Return some of the samples as a set of its own, in files beside ``target``.

    Raises:
        EdgeError: the disk is full.
    """
    paths = tuple(target.with_name(f"{target.stem}-{index}.npy") for index in range(len(samples.paths)))
    for path, source in zip(paths, samples.paths, strict=True):
        array = open_array(source)
        with ArrayWriter(path, array.shape[1:], array.dtype) as writer:
            for row in rows:
                writer.append(np.asarray(array[row]))
    names = tuple(samples.names[row] for row in rows)
    return replace(samples, paths=paths, names=names, sha256=sha256_of(paths[0]))


def digests(samples: Samples, rows: Sequence[int] | None = None) -> set[bytes]:
    """Return a digest of each sample's values (of ``rows`` only): equal ones are the same sample, whatever its name."""
    arrays = [open_array(path) for path in samples.paths]
    chosen = range(len(samples.names)) if rows is None else rows
    return {_digest(arrays, row) for row in chosen}


def unseen(samples: Samples, rows: Sequence[int], known: set[bytes]) -> list[int]:
    """Return those of ``rows`` whose values are not among ``known``, each value once."""
    arrays = [open_array(path) for path in samples.paths]
    taken = set(known)
    fresh = []
    for row in rows:
        digest = _digest(arrays, row)
        if digest not in taken:
            taken.add(digest)
            fresh.append(row)
    return fresh


def _digest(arrays: Sequence[Tensor], row: int) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array[row]).tobytes())
    return digest.digest()
