"""Write a Keras model of plain layers as arrays, for an environment that has no Keras.

python -m camera_loop.layers MODEL.keras TARGET.npz
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np


def layers_of(model: keras.Model) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the layers in order, each with its kind, inputs and settings, and their weights by layer and number."""
    layers, weights = [], {}
    for layer in model.layers:
        before = [node.arguments.keras_tensors for node in layer._inbound_nodes]  # noqa: SLF001 - Keras has no other way
        told: dict[str, Any] = {"kind": type(layer).__name__, "name": layer.name}
        told["inputs"] = [each._keras_history.operation.name for each in before[0]] if before else []  # noqa: SLF001
        if told["kind"] in ("Conv2D", "DepthwiseConv2D"):
            told |= {"strides": list(layer.strides), "same": layer.padding == "same", "size": list(layer.kernel_size)}
        if told["kind"] == "ZeroPadding2D":
            told["padding"] = [list(side) for side in layer.padding]
        if told["kind"] == "BatchNormalization":
            told["epsilon"] = layer.epsilon
        layers.append(told)
        for number, value in enumerate(layer.get_weights()):
            weights[f"{layer.name}/{number}"] = value
    return layers, weights


def main() -> None:
    """Write the arrays, and the layers as JSON among them."""
    layers, weights = layers_of(keras.saving.load_model(sys.argv[1], compile=False))
    np.savez(sys.argv[2], layers=np.array(json.dumps(layers)), **weights)


if __name__ == "__main__":
    main()
