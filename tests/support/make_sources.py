"""Saves the models of the TensorFlow family that converter tests open; run in a process of its own.

    python -m tests.support.make_sources FOLDER

None is trained: what matters is that an export answers as they do.
"""

import json
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras

SIDE = 16


def main(folder):
    keras.utils.set_random_seed(0)
    tf_keras.utils.set_random_seed(0)
    save_tensor_models(folder)
    save_refused(folder)
    save_legacy(folder)
    save_folders(folder)
    save_large(folder)


def image_model(library, first, last="softmax", dtype=None):
    image = library.Input((SIDE, SIDE, 3), dtype=dtype)
    layers = library.layers
    tensor = layers.Conv2D(4, 3, strides=2, activation="relu")(first(image))
    tensor = layers.BatchNormalization()(tensor)
    tensor = layers.GlobalAveragePooling2D()(tensor)
    return library.Model(image, layers.Dense(3, activation=last, name="answer")(tensor))


def two_inputs(library, *, named=False):
    """Inputs and outputs whose names sort the other way round."""
    layers = library.layers
    zeta, alpha = library.Input((4,), name="zeta"), library.Input((6,), name="alpha")
    last = layers.Dense(3, name="last")(layers.Concatenate()([zeta, layers.Dense(5)(alpha)]))
    first = layers.Dense(2, name="first")(alpha)
    if named:
        return library.Model({"zeta": zeta, "alpha": alpha}, {"last": last, "first": first})
    return library.Model([zeta, alpha], [last, first])


def save_tensor_models(folder):
    layers = keras.layers
    two_inputs(keras).save(folder / "two.keras")
    two_inputs(keras, named=True).save(folder / "two-named.keras")
    two_inputs(tf_keras).save(folder / "two-legacy.h5")

    numbers = keras.Input((8,), name="numbers")
    keras.Model(numbers, layers.Dense(1)(layers.Dense(6, activation="relu")(numbers))).save(folder / "regressor.keras")

    steps = keras.Input((5, 7))
    for kind in ("LSTM", "GRU"):
        keras.Model(steps, layers.Dense(2)(getattr(layers, kind)(6)(steps))).save(folder / f"{kind.lower()}.keras")
    keras.Model(steps, layers.LSTM(3, return_state=True, name="state")(steps)).save(folder / "states.keras")
    keras.Sequential([keras.Input((5, 7)), layers.Flatten(), layers.Dense(2)]).save(folder / "sequential.keras")

    for batch, name in ((None, "lstm-any-batch"), (1, "lstm-one")):
        old_steps = tf_keras.Input((5, 7), batch_size=batch)
        old = tf_keras.Model(old_steps, tf_keras.layers.Dense(2)(tf_keras.layers.LSTM(6)(old_steps)))
        old.save(folder / f"{name}.h5")
        old.export(folder / name)

    ids = keras.Input((6,), dtype="int32", name="ids")
    keras.Model(ids, layers.Dense(2)(layers.Flatten()(layers.Embedding(9, 3)(ids)))).save(folder / "ids.keras")

    image_model(keras, layers.Rescaling(1 / 255), dtype="uint8").save(folder / "bytes.keras")
    keras.config.set_dtype_policy("mixed_float16")
    image_model(keras, layers.Rescaling(1 / 255)).save(folder / "mixed.keras")
    keras.config.set_dtype_policy("float64")
    double = keras.Input((4,), name="wide", dtype="float64")
    keras.Model(double, layers.Dense(2)(double)).save(folder / "float64.keras")
    keras.config.set_dtype_policy("float32")


def save_refused(folder):
    layers = keras.layers
    words = keras.Input((1,), dtype="string", name="words")
    found = layers.StringLookup(vocabulary=["one", "two"])(words)
    keras.Model(words, layers.Embedding(4, 2)(found)).save(folder / "text.keras")
    numbers = keras.Input((4,))
    keras.Model(numbers, numbers).save(folder / "nothing.keras")
    keras.Sequential([]).save(folder / "empty.keras")
    keras.Model(numbers, keras.ops.erfinv(layers.Dense(3, activation="sigmoid")(numbers))).save(folder / "erfinv.keras")


def save_legacy(folder):
    layers = tf_keras.layers
    image_model(tf_keras, layers.Rescaling(1 / 127.5, -1.0)).save(folder / "legacy.h5")
    image_model(tf_keras, layers.Rescaling(1 / 127.5, -1.0)).save(folder / "legacy.keras")
    image_model(tf_keras, layers.Lambda(lambda value: value / 255)).save(folder / "legacy-lambda.h5")
    image_model(tf_keras, lambda image: tf.math.truediv(image, 255.0)).save(folder / "legacy-function.h5")

    class Mine(layers.Layer):
        def call(self, inputs):
            return inputs * 2

    image_model(tf_keras, Mine()).save(folder / "legacy-custom.h5")
    source = folder / "legacy-function.h5"
    evil = folder / "legacy-evil.h5"
    evil.write_bytes(source.read_bytes())
    with h5py.File(evil, "r+") as file:
        text = file.attrs["model_config"].replace('"math.truediv"', '"io.write_file"')
        file.attrs["model_config"] = text


class Model(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32), name="weights")

    @tf.function(input_signature=[tf.TensorSpec((None, 8), name="numbers")])
    def scores(self, numbers):
        return {"scores": tf.nn.softmax(numbers @ self.weights)}

    @tf.function(input_signature=[tf.TensorSpec((None, 8), name="numbers")])
    def sums(self, numbers):
        return {"sums": numbers @ self.weights}

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="picture")])
    def picture(self, picture):
        values = tf.cast(picture, tf.float32) / 255.0
        return {"colour": tf.nn.softmax(tf.reduce_mean(values, (1, 2)))}

    @tf.function(input_signature=[tf.TensorSpec((None, 6), tf.int64, name="ids")])
    def ids(self, ids):
        return {"sums": tf.reduce_sum(tf.gather(self.weights, ids), 1)}

    @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float64, name="wide")])
    def wide(self, wide):
        return {"sums": wide @ tf.cast(self.weights, tf.float64)}

    @tf.function(input_signature=[tf.TensorSpec((None, 8), name="numbers")])
    def inner_wide(self, numbers):
        wide = tf.cast(numbers, tf.float64) @ tf.cast(self.weights, tf.float64)
        return {"sums": tf.cast(tf.linalg.matmul(wide, wide, transpose_a=True), tf.float32)}

    @tf.function(input_signature=[])
    def constant(self):
        return {"weights": self.weights + 0.0}

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 3), name="matrices")])
    def lacking(self, matrices):
        return {"roots": tf.linalg.cholesky(tf.matmul(matrices, matrices, transpose_b=True) + tf.eye(3))}

    @tf.function(input_signature=[tf.TensorSpec(None, name="anything")])
    def shapeless(self, anything):
        return {"sums": tf.reshape(anything, (-1, 8)) @ self.weights}


class Writing(tf.Module):
    def __init__(self, folder):
        super().__init__()
        self._folder = str(folder)

    @tf.function(input_signature=[tf.TensorSpec((None, 8), name="numbers")])
    def writes(self, numbers):
        tf.io.write_file(self._folder + "/written-by-a-model", "here")
        return {"sums": numbers}


class Calling(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 8), name="numbers")])
    def calls(self, numbers):
        return {"sums": tf.ensure_shape(tf.py_function(lambda value: value, [numbers], tf.float32), (None, 8))}


def save_folders(folder):
    """SavedModels: exported by Keras, and written by hand."""
    export = {"verbose": False}
    image_model(keras, lambda image: image).export(folder / "exported", **export)
    two_inputs(keras, named=True).export(folder / "exported-two", **export)

    model = Model()
    for name in ("picture", "ids", "wide", "inner_wide", "constant", "lacking", "shapeless"):
        function = getattr(model, name)
        tf.saved_model.save(model, folder / name, signatures={"serving_default": function.get_concrete_function()})
    writing, calling = Writing(folder), Calling()
    tf.saved_model.save(writing, folder / "writes", signatures=writing.writes)
    tf.saved_model.save(calling, folder / "calls", signatures=calling.calls)
    both = {"scores": model.scores.get_concrete_function(), "sums": model.sums.get_concrete_function()}
    tf.saved_model.save(model, folder / "several", signatures=both)
    tf.saved_model.save(model, folder / "only", signatures={"sums": both["sums"]})
    tf.saved_model.save(tf.Module(), folder / "unsigned")
    model.weights.assign(model.weights * np.nan)
    tf.saved_model.save(model, folder / "nan", signatures={"serving_default": both["sums"]})


def save_large(folder):
    """Files that say that they hold 2.4 GB, and hold none of it."""
    config = {"class_name": "Functional", "config": {"name": "large", "layers": []}}
    for name, group in (("large.h5", "model_weights"), ("large-optimizer.h5", "optimizer_weights")):
        with h5py.File(folder / name, "w") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.create_dataset(f"{group}/dense/kernel", (600_000_000,), np.float32)
    with zipfile.ZipFile(folder / "large.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.write(folder / "large.h5", "model.weights.h5")
    large = folder / "large"
    (large / "variables").mkdir(parents=True)
    (large / "saved_model.pb").write_bytes((folder / "only" / "saved_model.pb").read_bytes())
    with (large / "variables" / "variables.data-00000-of-00001").open("wb") as stream:
        stream.truncate(3_000_000_000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
