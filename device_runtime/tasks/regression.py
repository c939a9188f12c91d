"""Regression heads: outputs that are the answer as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_runtime.contract.model import ModelSpec
from device_runtime.engine.values import real
from device_runtime.tasks.interface import Values, require_finite
from device_runtime.vision.frame import Tensor


def decode_values(outputs: Sequence[Tensor], spec: ModelSpec) -> Values:
    """Decode any number of outputs of any shape: their real values, one after another in row-major order."""
    flat = []
    for tensor, info in zip(outputs, spec.outputs, strict=True):
        values = real(tensor, info).reshape(-1)
        require_finite(values, info)
        flat.append(values)
    return Values(np.concatenate(flat))
