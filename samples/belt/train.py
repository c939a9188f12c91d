"""Train the belt's detector from scratch on rendered pictures: ``python train.py --out belt.keras``.

A small anchor-free, one-stage detector in the manner of FCOS (Tian et al. 2019): a convolutional trunk looks at a
256x192 picture, and each of 32x24 cells says what is centred in it and where that thing's four sides are.
Everything in it has an int8 kernel: convolutions, ReLU, one bilinear upsampling, additions, a sigmoid.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow tells of its own build on every start

import keras
import numpy as np
import tensorflow as tf
from make_images import EVALUATION_COUNT, EVALUATION_SEED, stills

from converters.parity.metrics import AveragePrecision, DetectedPicture, mean_average_precision
from device_runtime.cameras.belt_scene import PART_LABELS, ScenePart
from device_runtime.contract.model import Colour, ImagePrep, ModelSpec, TaskSpec, TensorSpec
from device_runtime.files import replacing
from device_runtime.tasks.detection import decode_boxes_scores
from device_runtime.vision.frame import Frame, Pixels
from device_runtime.vision.normalise import normalise
from device_runtime.vision.prepare import prepare_bytes

# What edgekit.toml says under [prep]: a 4:3 frame stretched to a 4:3 input keeps its shape, and -1..1.
PREP = ImagePrep(width=256, height=192, mean=(127.5,), std=(127.5,))
STRIDE = 8
COLUMNS, ROWS = PREP.width // STRIDE, PREP.height // STRIDE
CELLS = COLUMNS * ROWS
CLASSES = len(PART_LABELS)
TRAINING_SEED = 10_000_000
_PRIOR = 0.01  # share of cells that hold something, roughly; where the scores start (Lin et al. 2017, section 4.1)
_TYPICAL_HALF = (0.07, 0.09)  # half a part's width and height, as fractions of the input; where the boxes start
_CENTRE_CELLS = 1.0  # cells this near to an object's centre answer for it


def cell_centres() -> np.ndarray:
    """Return the cells' centres x y as fractions of the input: (CELLS, 2) float32, row by row."""
    x = (np.arange(COLUMNS, dtype=np.float32) + 0.5) / COLUMNS
    y = (np.arange(ROWS, dtype=np.float32) + 0.5) / ROWS
    return np.stack([np.tile(x, ROWS), np.repeat(y, COLUMNS)], axis=1)


def build() -> keras.Model:
    """Return the untrained detector.

    Input (n, 192, 256, 3) float32 -1…1; outputs boxes (n, 768, 4) x1 y1 x2 y2 as fractions of the input, and scores
    (n, 768, classes) 0–1.
    """
    image = keras.Input((PREP.height, PREP.width, 3), name="image")
    x = _convolve(image, 16, stride=2)
    x = _convolve(x, 24, stride=2)
    x = _convolve(x, 48, stride=2)
    fine = _convolve(x, 48)
    x = _convolve(fine, 64, stride=2)
    x = _convolve(x, 64)
    x = _convolve(x, 64)
    # Coarse cells see a whole gear; fine cells know where its edge is.
    x = keras.layers.UpSampling2D(2, interpolation="bilinear")(_convolve(x, 48, size=1))
    x = _convolve(keras.layers.Add()([x, fine]), 48)
    x = _convolve(x, 48)
    centres = cell_centres()[None]
    # The sides are predicted relative to the cell's centre.
    small = keras.initializers.RandomNormal(stddev=0.01)
    offsets = keras.layers.Conv2D(4, 1, kernel_initializer=small, name="offsets")(x)
    boxes = keras.layers.Reshape((CELLS, 4))(offsets)
    boxes = keras.ops.add(boxes, np.concatenate([centres, centres], axis=2))
    boxes = keras.layers.Identity(name="boxes")(boxes)
    logits = keras.layers.Conv2D(CLASSES, 1, kernel_initializer=small, name="logits")(x)
    scores = keras.layers.Reshape((CELLS, CLASSES))(logits)
    scores = keras.layers.Activation("sigmoid", name="scores")(scores)
    model = keras.Model(image, [boxes, scores], name="belt")
    model.get_layer("offsets").bias.assign([-half for half in _TYPICAL_HALF] + list(_TYPICAL_HALF))
    model.get_layer("logits").bias.assign([-math.log(1 / _PRIOR - 1)] * CLASSES)
    return model


def _convolve(x: keras.KerasTensor, filters: int, *, size: int = 3, stride: int = 1) -> keras.KerasTensor:
    x = keras.layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))


def targets_of(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Say what each cell should answer.

    Args:
        boxes: (m, 4) float32 x1 y1 x2 y2 as fractions of the input.
        classes: (m,) int64.

    Returns:
        (CELLS, 5) float32: the box, and 1 where there is one; and (CELLS, classes) float32, 0 or 1.
    """
    answers = np.zeros((CELLS, 5), np.float32)
    kinds = np.zeros((CELLS, CLASSES), np.float32)
    if not len(boxes):
        return answers, kinds
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.abs(cell_centres()[:, None] - centres) * np.array([COLUMNS, ROWS], np.float32)
    distance = np.where(away.max(axis=2) <= _CENTRE_CELLS, np.hypot(away[..., 0], away[..., 1]), np.inf)
    nearest = distance.argmin(axis=1)
    claimed = np.flatnonzero(np.isfinite(distance.min(axis=1)))
    answers[claimed, :4] = boxes[nearest[claimed]]
    answers[claimed, 4] = 1.0
    kinds[claimed, classes[nearest[claimed]]] = 1.0
    return answers, kinds


def box_loss(truth: keras.KerasTensor, boxes: keras.KerasTensor) -> keras.KerasTensor:
    """1 - GIoU (Rezatofighi et al. 2019, algorithm 1) over the cells that hold something."""
    ops = keras.ops
    wanted, holds = truth[..., :4], truth[..., 4]
    corner, far = ops.maximum(boxes[..., :2], wanted[..., :2]), ops.minimum(boxes[..., 2:], wanted[..., 2:])
    common = ops.prod(ops.maximum(far - corner, 0.0), axis=-1)
    union = _area(boxes) + _area(wanted) - common
    hull = ops.prod(
        ops.maximum(boxes[..., 2:], wanted[..., 2:]) - ops.minimum(boxes[..., :2], wanted[..., :2]), axis=-1
    )
    giou = common / (union + 1e-9) - (hull - union) / (hull + 1e-9)
    # A cell without an object may say anything; far outside the picture it would cost int8 steps for all boxes.
    outside = ops.mean(ops.relu(-boxes) + ops.relu(boxes - 1.0))
    return ops.sum((1.0 - giou) * holds) / (ops.sum(holds) + 1.0) + 10.0 * outside


def _area(boxes: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.prod(keras.ops.maximum(boxes[..., 2:] - boxes[..., :2], 0.0), axis=-1)


def score_loss(truth: keras.KerasTensor, scores: keras.KerasTensor) -> keras.KerasTensor:
    """Focal loss, gamma 2 (Lin et al. 2017, equation 4), per cell that holds something."""
    ops = keras.ops
    right = ops.clip(ops.where(truth > 0.5, scores, 1.0 - scores), 1e-6, 1.0)
    return ops.sum(ops.square(1.0 - right) * -ops.log(right)) / (ops.sum(truth) + 1.0)


class Batches(keras.utils.PyDataset):
    """Prepared pictures in random order, each time mirrored and lit differently."""

    def __init__(self, pictures: Pixels, labels: list[tuple[np.ndarray, np.ndarray]], size: int, seed: int) -> None:
        super().__init__()
        self._pictures, self._labels, self._size = pictures, labels, size
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(pictures))

    def __len__(self) -> int:
        return len(self._pictures) // self._size

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self._order = self._rng.permutation(len(self._pictures))

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        chosen = self._order[index * self._size : (index + 1) * self._size]
        images, answers, kinds = zip(*(self._vary(int(picture)) for picture in chosen), strict=True)
        return np.stack(images), (np.stack(answers), np.stack(kinds))

    def _vary(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image = normalise(self._pictures[index], PREP)
        boxes, classes = self._labels[index]
        if self._rng.random() < 0.5:
            image, boxes = image[:, ::-1], np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
        if self._rng.random() < 0.5:
            image, boxes = image[::-1], np.stack([boxes[:, 0], 1 - boxes[:, 3], boxes[:, 2], 1 - boxes[:, 1]], 1)
        gain = self._rng.uniform(0.75, 1.25) * self._rng.uniform(0.93, 1.07, 3)
        image = np.clip((image + 1) * gain.astype(np.float32) - 1, -1, 1)
        return image, *targets_of(boxes, classes)


def prepare(
    rendered: Iterable[tuple[Pixels, tuple[ScenePart, ...]]],
) -> tuple[Pixels, list[tuple[np.ndarray, np.ndarray]]]:
    """Prepare pictures as the board does.

    Returns:
        (n, 192, 256, 3) uint8 RGB; and per picture boxes (m, 4) float32 as fractions, and classes (m,) int64.
    """
    pictures, labels = [], []
    for pixels, parts in rendered:
        height, width = pixels.shape[:2]
        boxes = np.array([part.box for part in parts], np.float32).reshape(-1, 4)
        pictures.append(prepare_bytes(Frame(pixels, Colour.RGB), PREP))
        labels.append((boxes / np.array([width, height] * 2, np.float32), np.array([p.label for p in parts], np.int64)))
    return np.stack(pictures), labels


def evaluate(model: keras.Model, pictures: Pixels, labels: list[tuple[np.ndarray, np.ndarray]]) -> AveragePrecision:
    """Measure mAP at IoU 0.5, with the board's own decoding and NMS."""
    task = TaskSpec("detection", "boxes-scores", score_threshold=0.01, max_items=100, iou_threshold=0.5)
    inputs = (TensorSpec("image", (1, PREP.height, PREP.width, 3), "float32"),)
    outputs = (
        TensorSpec("boxes", (1, CELLS, 4), "float32"),
        TensorSpec("scores", (1, CELLS, CLASSES), "float32"),
    )
    spec = ModelSpec("belt", task, PREP, inputs, outputs, PART_LABELS)
    results = []
    for picture, (boxes, classes) in zip(pictures, labels, strict=True):
        answer = [np.asarray(output) for output in model(normalise(picture, PREP)[None], training=False)]
        found = decode_boxes_scores(answer, spec)
        results.append(DetectedPicture(found.boxes, found.scores, found.classes, boxes, classes))
    return mean_average_precision(results, CLASSES)


def train(count: int, epochs: int, seed: int, batch: int) -> keras.Model:
    """Render ``count`` pictures and train on them."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    started = time.monotonic()
    pictures, labels = prepare(stills(TRAINING_SEED, count))
    print(f"rendered {count} pictures in {time.monotonic() - started:.0f} s")
    model = build()
    print(f"{model.count_params()} parameters")
    steps = epochs * (count // batch)
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps, warmup_target=3e-3, warmup_steps=steps // 20)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=5.0)
    model.compile(optimizer, loss=[box_loss, score_loss])
    model.fit(Batches(pictures, labels, batch, seed), epochs=epochs, verbose=2)
    print(f"trained in {time.monotonic() - started:.0f} s, rendering included")
    return model


def save(model: keras.Model, path: Path) -> None:
    """Write the model alone, whole or not at all: what the optimiser remembers would triple the file."""
    bare = build()
    bare.set_weights(model.get_weights())
    with replacing(path) as temporary:
        bare.save(temporary)


def main() -> None:
    """Read the command line, train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("belt.keras"), help="default: %(default)s")
    parser.add_argument("--pictures", type=int, default=1600, metavar="N", help="to train on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="passes over them (%(default)s)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures per step (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    given = parser.parse_args()
    model = train(given.pictures, given.epochs, given.seed, given.batch)
    result = evaluate(model, *prepare(stills(EVALUATION_SEED, EVALUATION_COUNT)))
    for label, area, count in zip(PART_LABELS, result.per_class, result.truths, strict=True):
        print(f"{label:12} AP@0.5 {area if area is None else round(area, 4)}  ({count} objects)")
    print(f"mAP@0.5 {result.mean:.4f} on {EVALUATION_COUNT} pictures that training never saw")
    save(model, given.out)
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
