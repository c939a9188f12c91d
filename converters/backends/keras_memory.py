"""What a trained Keras model remembers of the pictures that it was trained on. Child process only.

A BatchNormalization layer keeps the mean and the variance of each channel that it saw in training. The first one is
behind a convolution or two, so that its channels tell how pixels were normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from converters.backends.interface import Batch

_FEWEST_CHANNELS = 4
"""A median over fewer channels says little."""
_BATCH = 8
_MIXTURES = np.linspace(0.0, 0.9, 19)
"""Shares of the first values (mean 0, variance 1) that the moving averages may still hold: after n steps of training
with momentum m that is m to the power of n, 0.4 after 90 steps with Keras' 0.99."""


class TrainingMemory:
    """The first BatchNormalization layer of an image model, and the part of the model in front of it."""

    def __init__(self, keras: ModuleType, model: Any, layer: Any) -> None:
        self._front = keras.Model(model.inputs, layer.input)
        self._axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
        self._epsilon = float(layer.epsilon)
        self._mean = np.asarray(layer.moving_mean, np.float64)
        self._variance = np.asarray(layer.moving_variance, np.float64)

    def misfit(self, pictures: Sequence[Batch]) -> float:
        """Return how far what the layer sees now is from what it remembers: 0 is the same.

        It is the Kullback-Leibler divergence of a normal distribution from another, median over channels (Kullback
        and Leibler, 1951), for the mixture of remembered and first values that fits best.

        Args:
            pictures: batches (n, height, width, channels) float32, normalised.
        """
        total, squares, count = np.zeros_like(self._mean), np.zeros_like(self._mean), 0
        for batch in pictures:
            for start in range(0, len(batch), _BATCH):
                values = np.asarray(self._front(tf.convert_to_tensor(batch[start : start + _BATCH]), training=False))
                rows = np.moveaxis(values, self._axis, -1).reshape(-1, len(self._mean)).astype(np.float64)
                total += rows.sum(0)
                squares += (rows**2).sum(0)
                count += len(rows)
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0)
        return min(self._divergence((1 - share) * mean, (1 - share) * variance + share) for share in _MIXTURES)

    def _divergence(self, mean: Any, variance: Any) -> float:
        spread = self._variance + self._epsilon
        ratio = (variance + self._epsilon) / spread
        return float(np.median((ratio + (mean - self._mean) ** 2 / spread - 1 - np.log(ratio)) / 2))


def memory_of(keras: ModuleType, model: Any) -> TrainingMemory | None:
    """Return what an image model remembers, or None where it has no BatchNormalization of enough channels."""
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            enough = len(np.ravel(np.asarray(layer.moving_mean))) >= _FEWEST_CHANNELS
            return TrainingMemory(keras, model, layer) if enough else None
        if hasattr(layer, "layers") and getattr(layer, "inputs", None):
            # The layers of a model inside are behind what stands before it: only at the very start they see pixels.
            return None
    return None
