"""Train the digits' classifier from scratch: ``python train.py --out digits.keras``, about a minute.

A plain convolutional network in the manner of LeNet-5 (LeCun et al. 1998), with batch normalisation.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow tells of its own build on every start

import cv2
import keras
import numpy as np
import tensorflow as tf
from make_images import HELD_OUT, load_scans, write_pictures

from converters.parity.metrics import top_k_accuracy
from device_runtime.contract.model import Colour, ImagePrep
from device_runtime.files import replacing
from device_runtime.vision.frame import Pixels
from device_runtime.vision.normalise import normalise
from device_runtime.vision.picture import list_pictures, read_picture
from device_runtime.vision.prepare import prepare_bytes

# What edgekit.toml says under [prep].
PREP = ImagePrep(width=32, height=32, colour=Colour.GRAY, mean=(0.0,), std=(255.0,))
CLASSES = 10


def build() -> keras.Model:
    """Return the untrained classifier: (n, 32, 32, 1) float32 0…1 to (n, 10) probabilities."""
    image = keras.Input((PREP.height, PREP.width, PREP.channels), name="image")
    x = image
    for filters in (16, 32, 64):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Dropout(0.3)(x))
    answer = keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")(x)
    return keras.Model(image, answer, name="digits")


def prepare(scans: Pixels) -> Pixels:
    """Draw scans as picture files, and read and prepare those as the board does: (n, 32, 32, 1) uint8."""
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(scans, [Path(folder) / f"scan-{index:04}.png" for index in range(len(scans))])
        return np.stack([prepare_bytes(read_picture(path), PREP) for path in list_pictures(Path(folder))])


class Batches(keras.utils.PyDataset):
    """Prepared pictures in random order, each time shifted, turned and scaled a little."""

    def __init__(self, pictures: Pixels, digits: np.ndarray, size: int, seed: int) -> None:
        super().__init__()
        self._pictures, self._digits, self._size = pictures, digits, size
        self._rng = np.random.default_rng(seed)
        self._order = self._rng.permutation(len(pictures))

    def __len__(self) -> int:
        return len(self._pictures) // self._size

    def on_epoch_end(self) -> None:
        """Shuffle."""
        self._order = self._rng.permutation(len(self._pictures))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._size : (index + 1) * self._size]
        varied = np.stack([self._vary(self._pictures[picture]) for picture in chosen])
        return normalise(varied, PREP), self._digits[chosen]

    def _vary(self, picture: Pixels) -> Pixels:
        middle = (PREP.width / 2, PREP.height / 2)
        move = cv2.getRotationMatrix2D(middle, self._rng.uniform(-12, 12), self._rng.uniform(0.85, 1.12))
        move[:, 2] += self._rng.uniform(-2.5, 2.5, 2)
        moved = cv2.warpAffine(picture[:, :, 0], move, (PREP.width, PREP.height), borderMode=cv2.BORDER_REPLICATE)
        return moved[:, :, None]


def train(pictures: Pixels, digits: np.ndarray, epochs: int, seed: int, batch: int) -> keras.Model:
    """Train on prepared pictures (n, 32, 32, 1) uint8 and their digits (n,)."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = build()
    print(f"{model.count_params()} parameters")
    steps = epochs * (len(pictures) // batch)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.monotonic()
    model.fit(Batches(pictures, digits, batch, seed), epochs=epochs, verbose=2)
    print(f"trained in {time.monotonic() - started:.0f} s")
    return model


def save(model: keras.Model, path: Path) -> None:
    """Write the model alone, whole or not at all: what the optimiser remembers would triple the file."""
    bare = build()
    bare.set_weights(model.get_weights())
    with replacing(path) as temporary:
        bare.save(temporary)


def main() -> None:
    """Read the command line, train, measure, save."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=here / "digits.keras", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="pictures per step (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    given = parser.parse_args()
    scans, labels = load_scans(here)
    pictures, digits = prepare(scans), np.array(labels)
    model = train(pictures[:-HELD_OUT], digits[:-HELD_OUT], given.epochs, given.seed, given.batch)
    scores = np.asarray(model.predict(normalise(pictures[-HELD_OUT:], PREP), verbose=0))
    accuracy = top_k_accuracy(scores, digits[-HELD_OUT:])
    wrong = round((1 - accuracy) * HELD_OUT)
    print(f"accuracy {accuracy:.2%} on {HELD_OUT} scans that training never saw ({wrong} wrong)")
    save(model, given.out)
    print(f"{given.out}: {given.out.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
