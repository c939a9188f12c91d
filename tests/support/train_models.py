"""Trains and saves the small Keras models of the converter tests; run in a process of its own: it needs TensorFlow.

    python -m tests.support.train_models FOLDER

The task is to tell pictures that are mostly dark, red, green or blue, so that it is learnt in seconds.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

from tests.support.colours import LABELS, SIDE, colour_pictures


def body(tensor):
    tensor = layers.Conv2D(8, 3, padding="same", activation="relu")(tensor)
    tensor = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu")(tensor)
    tensor = layers.Conv2D(16, 1, use_bias=False)(tensor)
    tensor = layers.ReLU(6.0)(layers.BatchNormalization()(tensor))
    return layers.GlobalAveragePooling2D()(tensor)


def trained(name, inputs, first, pictures, classes, *, dense="softmax"):
    model = keras.Model(inputs, layers.Dense(len(LABELS), activation=dense, name="colour")(body(first)), name=name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=dense == "linear")
    model.compile("adam", loss)
    model.optimizer.learning_rate = 0.01
    model.fit(pictures, classes, epochs=6, batch_size=32, verbose=0)
    return model


def main(folder):
    keras.utils.set_random_seed(0)
    pictures, classes = colour_pictures(480, seed=1)
    pictures = pictures.astype(np.float32)
    shape = (SIDE, SIDE, 3)

    image = keras.Input(shape)
    plain = trained("plain", image, image, pictures / 127.5 - 1, classes)
    plain.save(folder / "plain.keras")
    plain.save(folder / "plain.h5")

    image = keras.Input(shape)
    flipped = layers.RandomFlip()(image)
    trained("rescaled", image, layers.Rescaling(1 / 127.5, -1.0)(flipped), pictures, classes, dense="linear").save(
        folder / "rescaled.keras"
    )

    image = keras.Input(shape)
    normalise = layers.Normalization(mean=[123.675, 116.28, 103.53], variance=[58.395**2, 57.12**2, 57.375**2])
    trained("normalised", image, normalise(image), pictures, classes).save(folder / "normalised.keras")

    save_detector(folder, shape)
    save_odd_ones(folder, shape, plain)
    export(plain, folder / "plain.tflite")
    save_blocks(folder, shape)
    save_pictures(folder / "pictures", *colour_pictures(24, seed=2))


def save_detector(folder, shape):
    """Scores before boxes, to be put in order."""
    image = keras.Input(shape)
    grid = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(image)
    cells = (SIDE // 4) ** 2
    boxes = layers.Reshape((cells, 4), name="boxes")(layers.Conv2D(4, 1, activation="sigmoid")(grid))
    scores = layers.Reshape((cells, 3))(layers.Conv2D(3, 1)(grid))
    keras.Model(image, [layers.Activation("sigmoid", name="scores")(scores), boxes]).save(folder / "detector.keras")


def save_odd_ones(folder, shape, plain):
    class Mine(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    image = keras.Input(shape)
    keras.Model(image, body(layers.Lambda(lambda value: value / 255)(image))).save(folder / "lambda.keras")
    keras.Model(image, body(layers.Lambda(lambda value: value / 255)(image))).save(folder / "lambda.h5")
    keras.Model(image, body(Mine()(image))).save(folder / "custom.keras")

    other = keras.Input(shape)
    both = layers.Concatenate()([body(image), body(other)])
    keras.Model([image, other], layers.Dense(2)(both)).save(folder / "two-inputs.keras")

    flat = keras.Input((8,))
    keras.Model(flat, layers.Dense(2)(flat)).save(folder / "no-image.keras")

    free = keras.Input((None, None, 3))
    keras.Model(free, layers.Dense(4, activation="softmax")(body(free))).save(folder / "open-size.keras")

    broken = keras.models.clone_model(plain)
    weights = plain.get_weights()
    weights[0] = np.full_like(weights[0], np.nan)
    broken.set_weights(weights)
    broken.save(folder / "nan.keras")
    plain.save_weights(folder / "only.weights.h5")


def save_blocks(folder, shape):
    """A block as MobileNetV3 has it (hard-swish, squeeze and excite), and a recurrent layer; neither is trained."""
    image = keras.Input(shape)
    wide = layers.Activation("hard_swish")(layers.Conv2D(16, 3, strides=2, padding="same")(image))
    deep = layers.Activation("hard_swish")(layers.DepthwiseConv2D(3, padding="same")(wide))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(deep)
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1, activation="relu")(gate))
    added = layers.Add()([wide, layers.Conv2D(16, 1)(layers.Multiply()([deep, gate]))])
    logits = layers.Dense(4, name="logits")(layers.GlobalAveragePooling2D()(added))
    block = keras.Model(image, logits, name="hard_swish")
    block.save(folder / "hard-swish.keras")
    export(block, folder / "hard-swish.tflite")

    steps = keras.Input((10, 6))
    export(keras.Model(steps, layers.Dense(3)(layers.LSTM(8)(steps))), folder / "lstm.tflite")


def export(model, target):
    import tensorflow as tf  # noqa: PLC0415 - Keras has imported it by now

    saved = target.with_suffix("")
    signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32")]
    model.export(saved, input_signature=signature, verbose=False)
    target.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved)).convert())


def save_pictures(folder, pictures, classes):
    folder.mkdir()
    for index, (pixels, label) in enumerate(zip(pictures, classes, strict=True)):
        Image.fromarray(pixels).save(folder / f"{index:02d}-{LABELS[label]}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
