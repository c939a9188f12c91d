"""Make a detector of 320 px with the shape and cost of a small YOLO; what it finds means nothing.

python -m camera_loop.detector PHOTOS TARGET.keras
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import keras
import numpy as np

from device_runtime.vision.frame import Tensor

SIDE = 320
CLASSES = 80
STRIDES = (8, 16, 32)
_REACH = 6.0
"""A box reaches at most this many strides from its cell's centre."""
_CANDIDATES = 12
"""How many cells score above the usual threshold in a photo: a street scene's worth."""
_THRESHOLD = 0.25
_SPREAD = 2.0
"""Standard deviation of the scores' logits, so that the best ones stand out."""


def _convolve(x: keras.KerasTensor, filters: int, kernel: int = 3, stride: int = 1) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False)(x)
    return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))


def _stage(x: keras.KerasTensor, filters: int, blocks: int) -> keras.KerasTensor:
    """Halve the map, then add bottlenecks of half the filters."""
    x = _convolve(x, filters, 3, 2)
    for _ in range(blocks):
        inner = _convolve(_convolve(x, filters // 2, 1), filters, 3)
        x = keras.layers.Add()([x, inner])
    return x


def _cells(x: keras.KerasTensor, stride: int, name: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return boxes (1, n, 4) as cxcywh fractions of the input and scores (1, n, classes) of one map's n cells."""
    side = SIDE // stride
    ways = keras.layers.Conv2D(4, 1, activation="sigmoid")(_convolve(x, 32))
    scores = keras.layers.Conv2D(CLASSES, 1, activation="sigmoid", name=f"scores_{name}")(_convolve(x, 64))
    ways = keras.layers.Reshape((side * side, 4))(ways)
    # Distances l, t, r, b from the cell's centre become a centre and a size by one linear map (Tian et al. 2019,
    # FCOS, equation 1).
    reach = _REACH * stride / SIDE
    mix = np.array([[-0.5, 0, 1, 0], [0, -0.5, 0, 1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]], np.float32) * reach
    across, down = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    centres = np.stack([across, down, 0 * across, 0 * across], -1).reshape(1, -1, 4).astype(np.float32) * stride / SIDE
    boxes = keras.ops.add(keras.ops.matmul(ways, mix), centres)
    return boxes, keras.layers.Reshape((side * side, CLASSES))(scores)


def build() -> keras.Model:
    """Return the network: (1, 320, 320, 3) of 0–1 to (1, 4 + 80, 2100), boxes as cxcywh fractions, then scores."""
    keras.utils.set_random_seed(0)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = _stage(_convolve(image, 24, 3, 2), 48, 2)
    maps = []
    for filters in (96, 160, 256):
        x = _stage(x, filters, 2)
        maps.append(x)
    found = [_cells(each, stride, str(stride)) for each, stride in zip(maps, STRIDES, strict=True)]
    cells = [keras.layers.Concatenate(axis=-1)(pair) for pair in found]
    whole = keras.layers.Permute((2, 1), name="head")(keras.layers.Concatenate(axis=1)(cells))
    return keras.Model(image, whole)


def settle(model: keras.Model, photos: Tensor) -> None:
    """Set the scores' biases so that about ``_CANDIDATES`` cells are above the threshold in photos (n, 320, 320, 3)."""
    model.compile()
    # Means and variances of photos, as if it had been trained with them.
    for _ in range(30):
        model(photos[:16], training=True)
    heads = [layer for layer in model.layers if layer.name.startswith("scores_")]
    spread = float(np.std(_logits(model, photos)))
    for layer in heads:
        weights, bias = layer.get_weights()
        layer.set_weights([weights * _SPREAD / spread, bias])
    best = _logits(model, photos).max(1)
    wanted = float(np.quantile(best, 1 - _CANDIDATES / best.shape[1]))
    for layer in heads:
        weights, bias = layer.get_weights()
        layer.set_weights([weights, bias + np.log(_THRESHOLD / (1 - _THRESHOLD)) - wanted])


def _logits(model: keras.Model, photos: Tensor) -> Tensor:
    scores = np.asarray(model(photos[:16]), np.float64)[:, 4:]
    found: Tensor = np.log(scores + 1e-12) - np.log(1 - scores + 1e-12)
    return found


def main() -> None:
    """Write the model."""
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    photos = [
        cv2.resize(picture, (SIDE, SIDE))
        for path in sorted(folder.iterdir())
        if (picture := cv2.imread(str(path))) is not None
    ]
    model = build()
    settle(model, np.stack(photos[:32])[..., ::-1].astype(np.float32) / 255)
    model.save(target)


if __name__ == "__main__":
    main()
