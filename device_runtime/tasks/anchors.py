"""The anchors of an SSD head: the boxes that its outputs are relative to."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from device_runtime.contract.model import SsdAnchors
from device_runtime.vision.placement import Boxes

_LOWEST_SCALE = 0.1
"""Scale of the first anchor of a reduced first layer (multiple_grid_anchor_generator.create_ssd_anchors)."""


@functools.lru_cache(maxsize=8)
def anchor_boxes(anchors: SsdAnchors, width: int, height: int) -> Boxes:
    """Return the anchors of an input of ``width`` x ``height`` px.

    Layer by layer, in each row by row, and in each cell in the order of ``anchors_of_layers``: as
    ``multiple_grid_anchor_generator`` of the TensorFlow Object Detection API has them.

    Returns:
        (n, 4) float32 centre x, centre y, width, height as fractions of the input; it must not be changed.
    """
    layers = []
    shorter = min(width, height)
    for stride, shapes in zip(anchors.strides, anchors_of_layers(anchors), strict=True):
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        layer = np.empty((rows, columns, len(shapes), 4), np.float32)
        layer[..., 0] = ((np.arange(columns) + 0.5) / columns)[:, None]
        layer[..., 1] = ((np.arange(rows) + 0.5) / rows)[:, None, None]
        layer[..., 2:] = np.array(shapes) * (shorter / width, shorter / height)
        layers.append(layer.reshape(-1, 4))
    boxes: Boxes = np.concatenate(layers)
    boxes.flags.writeable = False
    return boxes


def anchors_of_layers(anchors: SsdAnchors) -> list[list[tuple[float, float]]]:
    """Return for each layer its anchors' widths and heights, as shares of the input's shorter side."""
    count = len(anchors.strides)
    rise = (anchors.max_scale - anchors.min_scale) / max(count - 1, 1)
    scales = [*(anchors.min_scale + rise * layer for layer in range(count)), 1.0]
    layers = []
    for layer, (scale, following) in enumerate(itertools.pairwise(scales)):
        if layer == 0 and anchors.reduce_lowest:
            kinds = [(_LOWEST_SCALE, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            kinds = [(scale, ratio) for ratio in anchors.aspect_ratios]
            if anchors.interpolated_aspect_ratio:
                kinds.append((math.sqrt(scale * following), anchors.interpolated_aspect_ratio))
        layers.append([(size * math.sqrt(ratio), size / math.sqrt(ratio)) for size, ratio in kinds])
    return layers


def relative_to(anchors: Boxes, codes: Boxes, divisors: tuple[float, float, float, float]) -> Boxes:
    """Return the boxes that an SSD head says relative to its anchors.

    ``y = ty / sy * ha + ya``, ``h = exp(th / sh) * ha``, and the same for x and w (faster_rcnn_box_coder of the
    TensorFlow Object Detection API; Ren et al. 2015, equation 2).

    Args:
        anchors: (n, 4) centre x, centre y, width, height.
        codes: (n, 4) float32 ty tx th tw.
        divisors: sy, sx, sh, sw.

    Returns:
        (n, 4) float32 x1 y1 x2 y2.
    """
    scaled = codes / np.array(divisors, np.float32)
    centres = scaled[:, 1::-1] * anchors[:, 2:] + anchors[:, :2]
    # No code means e^20 anchors; without the limit a wild one would overflow to infinity.
    halves = np.exp(np.minimum(scaled[:, :1:-1], np.float32(20.0))) * anchors[:, 2:] / 2
    boxes: Boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    return boxes
