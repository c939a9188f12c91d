"""What the bytes of a prepared picture become in a model's input; NumPy alone, so that it runs where OpenCV is not."""

from __future__ import annotations

import numpy as np

from device_runtime.contract.model import ImagePrep, TensorSpec
from device_runtime.engine.values import stored
from device_runtime.vision.frame import Pixels, Tensor

_BYTES = np.arange(256, dtype=np.float64)


def byte_table(prep: ImagePrep, tensor: TensorSpec) -> Tensor:
    """Return what each byte becomes in the input: (256, 1) or (256, channels) of the tensor's dtype.

    ``(byte - mean) / std``, then for a quantised tensor ``round(real / scale) + zero_point``, saturated, with
    ties rounded away from zero as TFLite's QUANTIZE does. An integer tensor with no scale takes plain bytes.
    """
    real = (_BYTES[:, None] - np.array(prep.mean)[None, :]) / np.array(prep.std)[None, :]
    return np.ascontiguousarray(stored(real, tensor))


def normalise(pixels: Pixels, prep: ImagePrep) -> Tensor:
    """Return ``(pixel - mean) / std`` of prepared bytes: float32, the shape of ``pixels`` (…, channels)."""
    table = byte_table(prep, TensorSpec("image", (1, prep.height, prep.width, prep.channels), "float32"))
    if table.shape[1] == 1:
        return table[:, 0][pixels]
    return np.stack([table[:, channel][pixels[..., channel]] for channel in range(table.shape[1])], axis=-1)
