"""What the first and the last layers of a Keras model do, in Keras 3 and Keras 2 alike. Child process only."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from converters.backends.interface import LeadingLayers
from converters.tasks import Activation

_PASSING = ("Reshape", "Flatten", "Permute", "Concatenate", "Identity", "Dropout", "InputLayer")
_IDLE = ("Identity", "Dropout", "GaussianNoise", "InputLayer")
"""Layers that do nothing when a model is used; random augmentation (Random…) is told by its name."""
_MAX_NORMALISED = 16.0
"""Leading layers that map pixels beyond this do not expect 0–255; trained inputs are within about ±3."""
_EPSILON = 1e-7
"""What Normalization divides by at least (``keras.config.epsilon``, default)."""


def leading_layers(model: Any) -> tuple[LeadingLayers | None, Any]:
    """Find the layers at the start that normalise pixels, and the tensor behind them."""
    tensor = model.inputs[0]
    scale, offset = np.ones(1), np.zeros(1)
    names: list[str] = []
    while True:
        users = _readers(model, tensor)
        if len(users) != 1:
            break
        kind = type(users[0]).__name__
        if kind in ("Rescaling", "Normalization"):
            factor, shift = _affine(users[0])
            scale, offset = scale * factor, offset * factor + shift
            names.append(users[0].name)
        elif kind not in _IDLE and not kind.startswith("Random"):
            break
        tensor = users[0].output
    if not names:
        return _nested_leading(model, tensor), tensor
    return _as_leading(names, scale, offset, removable=True), tensor


def activation_of(tensor: Any) -> Activation:
    """Tell the function that computes an output, looking through layers that only move values."""
    while True:
        layer: Any = getattr(tensor, "_keras_history", (None,))[0]
        kind = type(layer).__name__
        if kind == "Softmax":
            return Activation.SOFTMAX
        if is_model(layer):
            position = tensor._keras_history[2]  # noqa: SLF001 - Keras has no public way to ask who wrote a tensor
            return activation_of(layer.outputs[position])
        if kind in _PASSING and layer is not None:
            given = tf.nest.flatten(layer.input)[0]
            if given is tensor:
                return Activation.UNKNOWN
            tensor = given
            continue
        function = getattr(layer, "activation", None)
        return _named(getattr(function, "__name__", kind.lower()))


def is_model(layer: Any) -> bool:
    """Whether a layer is a model itself, of fixed inputs and outputs."""
    return hasattr(layer, "layers") and bool(getattr(layer, "inputs", None)) and bool(getattr(layer, "outputs", None))


def _nested_leading(model: Any, tensor: Any) -> LeadingLayers | None:
    """Find normalising layers at the start of a model inside the model; they cannot be cut off from outside."""
    users = _readers(model, tensor)
    if len(users) != 1 or not is_model(users[0]):
        return None
    found, _ = leading_layers(users[0])
    return None if found is None else LeadingLayers(found.names, found.mean, found.std, removable=False)


def _as_leading(names: list[str], scale: Any, offset: Any, *, removable: bool) -> LeadingLayers | None:
    """Return layers that compute ``scale * x + offset`` as mean and std, if pixels 0–255 fit them."""
    ends = np.abs(np.stack([offset + 0 * scale, offset + 255 * scale]))
    if not np.all(scale > 0) or ends.max() > _MAX_NORMALISED:
        return None
    mean, std = np.broadcast_arrays(-offset / scale, 1 / scale)
    if np.ptp(mean) == 0 and np.ptp(std) == 0:
        mean, std = mean[:1], std[:1]
    return LeadingLayers(tuple(names), tuple(map(float, mean)), tuple(map(float, std)), removable)


def _affine(layer: Any) -> tuple[Any, Any]:
    """Return scale and offset of a Rescaling or Normalization layer, per channel or one for all."""
    if type(layer).__name__ == "Rescaling":
        return np.ravel(np.array(layer.scale, np.float64)), np.ravel(np.array(layer.offset, np.float64))
    mean = np.ravel(np.asarray(layer.mean)).astype(np.float64)
    deviation = np.maximum(np.sqrt(np.ravel(np.asarray(layer.variance)).astype(np.float64)), _EPSILON)
    if layer.invert:
        return deviation, mean
    return 1 / deviation, -mean / deviation


def _readers(model: Any, tensor: Any) -> list[Any]:
    """Return the layers that read a tensor; in Keras 2 an InputLayer reads itself."""
    return [layer for layer in model.layers if type(layer).__name__ != "InputLayer" and _reads(layer, tensor)]


def _reads(layer: Any, tensor: Any) -> bool:
    nodes = layer._inbound_nodes  # noqa: SLF001 - Keras has no public way to ask who reads a tensor
    return any(tensor is given for node in nodes for given in tf.nest.flatten(node.input_tensors))


def _named(name: str) -> Activation:
    return {"softmax": Activation.SOFTMAX, "sigmoid": Activation.SIGMOID, "linear": Activation.LINEAR}.get(
        name, Activation.UNKNOWN
    )
