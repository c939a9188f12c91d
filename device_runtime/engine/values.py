"""What a tensor's stored values stand for, and the way back: the one place that knows scale and zero point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from device_runtime.contract.model import TensorSpec
from device_runtime.vision.frame import Tensor


def real(tensor: Tensor, spec: TensorSpec) -> npt.NDArray[np.float32]:
    """Return what a stored tensor stands for: ``scale * (stored - zero_point)``, float32, the same shape.

    Widened before the subtraction: int8 arithmetic would wrap.
    """
    if spec.quantised:
        return (tensor.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)
    return tensor.astype(np.float32)


def stored(values: Tensor, spec: TensorSpec) -> Tensor:
    """Return what stands for real values in a tensor: ``round(value / scale) + zero_point``, saturated.

    Ties are rounded away from zero, as TFLite's QUANTIZE does; an integer tensor that is not quantised takes values
    rounded and saturated.
    """
    dtype = np.dtype(spec.dtype)
    wide = np.asarray(values, np.float64)
    if dtype.kind not in "iu":
        return wide.astype(dtype)
    steps = wide / spec.scale if spec.quantised else wide
    limits = np.iinfo(dtype)
    rounded = np.trunc(steps + np.copysign(0.5, steps)) + spec.zero_point
    result: Tensor = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return result
