"""Segmentation heads: a class for each cell of the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runtime.contract.model import ModelSpec
from device_runtime.engine.values import real
from device_runtime.errors import ModelError
from device_runtime.tasks.interface import ClassMap, require_finite
from device_runtime.vision.frame import Tensor
from device_runtime.vision.placement import Mask

_NO_CLASS = 255
_LARGEST_ID = 65534


def decode_class_scores(outputs: Sequence[Tensor], spec: ModelSpec) -> ClassMap:
    """Decode (1, h, w, classes) scores or logits, float or quantised: the best class of each cell.

    Scores are compared as they are stored: a scale above 0 keeps their order. Of equal ones the lower class wins.
    """
    scores = outputs[0]
    if scores.dtype.kind == "f":
        require_finite(scores, spec.outputs[0])
    return ClassMap(_narrow(scores[0].argmax(axis=-1), scores.shape[-1] - 1))


def decode_class_map(outputs: Sequence[Tensor], spec: ModelSpec) -> ClassMap:
    """Decode class ids (1, h, w) or (1, h, w, 1) of any dtype; ids are whole numbers 0–65534 as real values."""
    info = spec.outputs[0]
    ids = outputs[0].reshape(outputs[0].shape[1:3])
    if info.quantised or ids.dtype.kind == "f":
        ids = real(ids, info)
        require_finite(ids, info)
        ids = np.rint(ids)
    highest = int(ids.max())
    if ids.min() < 0 or highest > _LARGEST_ID:
        raise ModelError(f"output {info.name}: expected class ids 0–{_LARGEST_ID}, got {ids.min():g}–{highest}")
    return ClassMap(_narrow(ids, highest))


def _narrow(ids: Tensor, highest: int) -> Mask:
    """Return class ids in the smallest type that has room for them, and for "no class" above them."""
    return ids.astype(np.uint8) if highest < _NO_CLASS else ids.astype(np.uint16)
