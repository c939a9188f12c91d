"""A small convolutional model with names for its layers, float and quantised, for tests that look into models."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.jobs import Calibrate, Done, Quantise, Tidy
from converters.process import open_worker
from converters.recipe import RECIPES
from device_runtime.contract.events import silent
from tests.support.tiny_tflite import Net, Op, Tensor, build

SIDE = 16
CHANNELS = 8
CLASSES = 4
INPUT_SHAPE = (1, SIDE, SIDE, 3)


def layered(activation="HARD_SWISH", seed=0, spread=1.0):
    """Return conv → ``activation`` → depthwise → conv → mean → dense → softmax; weights are ``spread`` wide."""
    random = np.random.default_rng(seed)

    def weights(name, *shape):
        return Tensor(name, shape, values=(spread * random.normal(0, 0.3, shape)).astype(np.float32))

    def bias(name, count):
        return Tensor(name, (count,), values=random.normal(0, 0.1, count).astype(np.float32))

    image = (1, SIDE, SIDE, CHANNELS)
    tensors = [
        Tensor("image", INPUT_SHAPE),
        weights("stem/weights", CHANNELS, 3, 3, 3),
        bias("stem/bias", CHANNELS),
        Tensor("stem", image),
        Tensor("active", image),
        weights("depth/weights", 1, 3, 3, CHANNELS),
        bias("depth/bias", CHANNELS),
        Tensor("depth", image),
        weights("point/weights", CHANNELS, 1, 1, CHANNELS),
        bias("point/bias", CHANNELS),
        Tensor("point", image),
        Tensor("axes", (2,), "int32", values=np.array([1, 2], np.int32)),
        Tensor("pooled", (1, CHANNELS)),
        weights("dense/weights", CLASSES, CHANNELS),
        bias("dense/bias", CLASSES),
        Tensor("dense", (1, CLASSES)),
        Tensor("scores", (1, CLASSES)),
    ]
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    options = schema.BuiltinOptions
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], options=(options.Conv2DOptions, _strided(schema.Conv2DOptionsT()))),
        Op(activation, [3], [4]),
        Op(
            "DEPTHWISE_CONV_2D",
            [4, 5, 6],
            [7],
            options=(options.DepthwiseConv2DOptions, _strided(schema.DepthwiseConv2DOptionsT())),
        ),
        Op("CONV_2D", [7, 8, 9], [10], options=(options.Conv2DOptions, _strided(schema.Conv2DOptionsT()))),
        Op("MEAN", [10, 11], [12], options=(options.ReducerOptions, schema.ReducerOptionsT())),
        Op("FULLY_CONNECTED", [12, 13, 14], [15], options=(options.FullyConnectedOptions, _dense())),
        Op("SOFTMAX", [15], [16], options=(options.SoftmaxOptions, softmax)),
    ]
    return build(Net(tensors, ops))


def samples(count=8, seed=1):
    """Return ``count`` inputs of the model: (count, side, side, 3) float32 in 0–1."""
    return np.random.default_rng(seed).random((count, *INPUT_SHAPE[1:]), np.float32)


def quantised(content, recipe, folder):
    """Return the path of the model after a recipe, calibrated on ``samples``; the tidy float model is beside it."""
    source, tidy, target = folder / "source.tflite", folder / "float.tflite", folder / f"{recipe}.tflite"
    source.write_bytes(content)
    np.save(folder / "samples.npy", samples())
    with open_worker(folder, silent) as worker:
        worker.call(Tidy(str(source), str(tidy), ("image",), ("scores",), (0,)), Done, "tidy")
        ranges = str(folder / "ranges.npz")
        if RECIPES[recipe].calibrates:
            worker.call(Calibrate(str(tidy), ranges, (str(folder / "samples.npy"),), None), Done, "calibrate")
        worker.call(Quantise(str(tidy), str(target), RECIPES[recipe], ranges), Done, "quantise")
    return target


def _strided(options):
    options.padding = schema.Padding.SAME
    options.strideW = options.strideH = 1
    options.dilationWFactor = options.dilationHFactor = 1
    if isinstance(options, schema.DepthwiseConv2DOptionsT):
        options.depthMultiplier = 1
    return options


def _dense():
    return schema.FullyConnectedOptionsT()
