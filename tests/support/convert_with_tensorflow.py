"""Converts a model of many operators with TensorFlow's own converter: ``python -m … FOLDER`` writes .tflite files."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

RECIPES = ("float16", "dynamic", "int8")


def network():
    """Many operators that a quantiser touches, with weights enough that the converter quantises them."""
    layers = tf_keras.layers
    image = layers.Input((16, 16, 3), batch_size=1)
    one = layers.Conv2D(128, 3, padding="same", activation="relu6")(image)
    two = layers.DepthwiseConv2D(3, padding="same", activation="tanh")(one)
    both = layers.Add()([one, two])
    both = layers.Multiply()([both, layers.Activation("sigmoid")(two)])
    both = layers.Concatenate()([both, layers.Subtract()([one, two]), layers.Maximum()([one, two])])
    both = layers.MaxPooling2D(2)(layers.ZeroPadding2D()(layers.LeakyReLU()(both)))
    both = layers.AveragePooling2D(2)(layers.UpSampling2D(interpolation="bilinear")(both))
    both = layers.Conv2DTranspose(4, 2, strides=2)(both)
    last = layers.LSTM(16)(layers.Reshape((18, 72))(both))
    return tf_keras.Model(image, layers.Softmax()(layers.Dense(70)(last)))


def converted(source, recipe):
    converter = tf.lite.TFLiteConverter.from_keras_model(source)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if recipe == "int8":
        random = np.random.default_rng(0)
        converter.representative_dataset = lambda: ([random.random((1, 16, 16, 3), np.float32)] for _ in range(2))
    return converter.convert()


def main(folder):
    model = network()
    for recipe in RECIPES:
        (folder / f"{recipe}.tflite").write_bytes(converted(model, recipe))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
