"""Make the models that benchmarks/conversion.py measures, beside the samples' own.

python benchmarks/make_models.py mobilenet-v2 QUANTISED.tflite TARGET.keras     (ImageNet weights of a uint8 file)
python benchmarks/make_models.py mobilenet-v3 samples/digits TARGET.keras       (trained on the scans of that sample)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.tflite_writer import kind_of, unpack
from device_runtime.contract.model import Colour, ImagePrep
from device_runtime.vision.frame import Frame, Pixels, Tensor
from device_runtime.vision.normalise import normalise
from device_runtime.vision.prepare import prepare_bytes

_SIDE = 48
_EPOCHS = 20
_BATCH = 32
_MOVED = 4


def dequantised(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Return weights and biases of a quantised model's layers as floats, in the order of the graph."""
    model = unpack(path.read_bytes())
    graph = model.subgraphs[0]
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)

    def values(index: int, dtype: type[np.generic]) -> Tensor:
        tensor = graph.tensors[index]
        stored = model.buffers[tensor.buffer].data.view(dtype).reshape(tensor.shape)
        found: Tensor = (stored.astype(np.float64) - int(tensor.quantization.zeroPoint[0])) * float(
            tensor.quantization.scale[0]
        )
        return found.astype(np.float32)

    layers = []
    for operator in graph.operators:
        if kind_of(model, operator) in kinds:
            weights = values(operator.inputs[1], np.uint8)
            # (out, h, w, in) to (h, w, in, out); a depthwise (1, h, w, channels) to (h, w, channels, 1).
            layers.append((weights.transpose(1, 2, 3, 0), values(operator.inputs[2], np.int32)))
    return layers


def mobilenet_v2(path: Path) -> keras.Model:
    """Return Keras's MobileNetV2 1.0 224 with the weights of a quantised file: 1001 classes, 0 is the background."""
    model = keras.applications.MobileNetV2(weights=None, classes=1001)
    layers = dequantised(path)
    convolutions = [
        each for each in model.layers if isinstance(each, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
    ]
    norms = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    for convolution, norm, (weights, bias) in zip(convolutions, norms, layers, strict=False):
        convolution.set_weights([weights])
        one, zero = np.ones_like(bias), np.zeros_like(bias)
        norm.set_weights([one, bias, zero, one - norm.epsilon])  # it was folded into the convolution
    weights, bias = layers[len(norms)]
    model.layers[-1].set_weights([weights.reshape(weights.shape[2:]), bias])
    return model


def _block(x: keras.KerasTensor, filters: int, grown: int, stride: int, activation: str) -> keras.KerasTensor:
    """An inverted residual with squeeze-and-excitation (Howard et al. 2019, arXiv 1905.02244, figure 4)."""
    layers = keras.layers
    given = x
    x = layers.Conv2D(grown, 1, use_bias=False)(x)
    x = layers.Activation(activation)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x)
    x = layers.Activation(activation)(layers.BatchNormalization()(x))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    squeezed = layers.Conv2D(max(8, grown // 4), 1, activation="relu")(squeezed)
    x = layers.Multiply()([x, layers.Conv2D(grown, 1, activation="hard_sigmoid")(squeezed)])
    x = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x))
    return layers.Add()([given, x]) if stride == 1 and given.shape[-1] == filters else x


def mobilenet_v3(sample: Path) -> keras.Model:
    """Return a small MobileNetV3 (hard-swish, squeeze-and-excitation) trained on scans of digits."""
    prep = ImagePrep(_SIDE, _SIDE, Colour.GRAY, mean=(127.5,), std=(127.5,))
    pictures, labels = _pictures(sample, prep)
    image = keras.Input((_SIDE, _SIDE, 1), name="image")
    x = keras.layers.Conv2D(16, 3, 2, "same", use_bias=False)(image)
    x = keras.layers.Activation("hard_swish")(keras.layers.BatchNormalization()(x))
    for filters, grown, stride, activation in (
        (16, 32, 2, "relu"),
        (24, 64, 1, "relu"),
        (24, 72, 1, "relu"),
        (40, 96, 2, "hard_swish"),
        (40, 120, 1, "hard_swish"),
        (48, 144, 1, "hard_swish"),
    ):
        x = _block(x, filters, grown, stride, activation)
    x = keras.layers.Activation("hard_swish")(keras.layers.Conv2D(128, 1)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax", name="probabilities")(x))
    steps = _EPOCHS * len(labels) // _BATCH
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(normalise(pictures, prep), labels, batch_size=_BATCH, epochs=_EPOCHS, verbose=2)
    return model


def _pictures(sample: Path, prep: ImagePrep) -> tuple[Tensor, Tensor]:
    """Draw the scans that the digits sample trains with, each also moved a little, as the board prepares them."""
    sys.path.insert(0, str(sample))
    from make_images import HELD_OUT, draw, load_scans  # type: ignore[import-not-found]  # noqa: PLC0415 - the sample's

    scans, digits = load_scans(sample)
    generator = np.random.default_rng(0)
    pixels, labels = [], []
    for scan, digit in zip(scans[:-HELD_OUT], digits[:-HELD_OUT], strict=True):
        picture = draw(scan)
        for _ in range(_MOVED):
            moved = _moved(picture, generator)
            pixels.append(prepare_bytes(Frame(moved, Colour.GRAY), prep))
            labels.append(digit)
    return np.stack(pixels), np.array(labels)


def _moved(picture: Pixels, generator: np.random.Generator) -> Pixels:
    """Turn, scale and shift a picture a little; paper is at its edges."""
    side = picture.shape[0]
    move: Tensor = cv2.getRotationMatrix2D(
        (side / 2, side / 2), generator.uniform(-12, 12), generator.uniform(0.85, 1.1)
    )
    move[:, 2] += generator.uniform(-4, 4, 2)
    return np.asarray(cv2.warpAffine(picture, move, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def main() -> None:
    """Write one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["mobilenet-v2", "mobilenet-v3"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    model = mobilenet_v2(options.source) if options.what == "mobilenet-v2" else mobilenet_v3(options.source)
    model.save(options.target)


if __name__ == "__main__":
    main()
