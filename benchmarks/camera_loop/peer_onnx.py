"""onnxruntime with the classifier as a static int8 QDQ model; it runs in the peers' environment.

python -m camera_loop.peer_onnx LAYERS.npz PHOTOS TARGET.onnx makes that model.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from camera_loop.child import Repeated
from camera_loop.naive import Clip, best_classes

_SIDE = 224
_PHOTOS = 30


class Loop(Repeated):
    """The cv2 loop around an InferenceSession with one thread. Options: onnx, clip."""

    def __init__(self, options: dict[str, Any]) -> None:
        runtime: Any = importlib.import_module("onnxruntime")
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(options["onnx"], settings, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name
        self._clip = Clip(options["clip"])

    def once(self) -> object:
        """Predict one frame."""
        return best_classes(self._session.run(None, {self._name: prepare(self._clip.read())})[0][0])


def prepare(frame: Any) -> Any:
    """Return (1, 3, 224, 224) float32 of -1 to 1 from a BGR frame."""
    rgb = cv2.cvtColor(cv2.resize(frame, (_SIDE, _SIDE)), cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray((rgb.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])


class Graph:
    """An ONNX graph of Keras layers: NHWC becomes NCHW, and batch normalisation goes into the convolutions."""

    def __init__(self, layers: list[dict[str, Any]], weights: Any) -> None:
        self._onnx: Any = importlib.import_module("onnx")
        self._layers = layers
        self._weights = weights
        self._nodes: list[Any] = []
        self._stored: list[Any] = []
        self._padding: dict[str, list[int]] = {}
        self._renamed: dict[str, str] = {}
        self._norms = {layer["inputs"][0]: layer for layer in layers if layer["kind"] == "BatchNormalization"}

    def model(self) -> Any:
        """Return the model."""
        add: dict[str, Callable[[dict[str, Any]], None]] = {
            "ZeroPadding2D": self._pad,
            "Conv2D": self._convolve,
            "DepthwiseConv2D": self._convolve,
            "BatchNormalization": self._pass,
            "ReLU": self._clip,
            "Add": lambda layer: self._node("Add", self._inputs(layer), layer["name"]),
            "GlobalAveragePooling2D": self._average,
            "Dense": self._classify,
        }
        for layer in self._layers[1:]:  # the first one is the input
            add[layer["kind"]](layer)
        make, real = self._onnx.helper, self._onnx.TensorProto.FLOAT
        image = make.make_tensor_value_info(self._layers[0]["name"], real, [1, 3, _SIDE, _SIDE])
        answer = make.make_tensor_value_info(self._layers[-1]["name"], real, None)
        graph = make.make_graph(self._nodes, "classifier", [image], [answer], self._stored)
        return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)

    def _inputs(self, layer: dict[str, Any]) -> list[str]:
        return [self._renamed.get(name, name) for name in layer["inputs"]]

    def _node(self, kind: str, inputs: list[str], output: str, **settings: Any) -> None:
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [output], **settings))

    def _keep(self, name: str, value: Any) -> str:
        array = np.ascontiguousarray(value, np.float32)
        self._stored.append(self._onnx.numpy_helper.from_array(array.reshape(np.shape(value)), name))
        return name

    def _pass(self, layer: dict[str, Any]) -> None:
        self._renamed[layer["name"]] = self._inputs(layer)[0]

    def _pad(self, layer: dict[str, Any]) -> None:
        (top, bottom), (left, right) = layer["padding"]
        self._padding[layer["name"]] = [top, left, bottom, right]
        self._pass(layer)

    def _convolve(self, layer: dict[str, Any]) -> None:
        name, norm = layer["name"], self._norms[layer["name"]]
        deep = layer["kind"] == "DepthwiseConv2D"
        kernel = self._weights[f"{name}/0"].transpose((2, 3, 0, 1) if deep else (3, 2, 0, 1))
        gamma, beta, mean, variance = (self._weights[f"{norm['name']}/{number}"] for number in range(4))
        factor = gamma / np.sqrt(variance + norm["epsilon"])
        pads = self._padding.get(layer["inputs"][0])
        self._node(
            "Conv",
            [
                *self._inputs(layer),
                self._keep(f"{name}.w", kernel * factor[:, None, None, None]),
                self._keep(f"{name}.b", beta - mean * factor),
            ],
            name,
            strides=layer["strides"],
            group=kernel.shape[0] if deep else 1,
            **({"pads": pads} if pads else {"auto_pad": "SAME_UPPER" if layer["same"] else "VALID"}),
        )

    def _clip(self, layer: dict[str, Any]) -> None:
        name = layer["name"]
        limits = [self._keep(f"{name}.low", np.float32(0)), self._keep(f"{name}.high", np.float32(6))]
        self._node("Clip", [*self._inputs(layer), *limits], name)

    def _average(self, layer: dict[str, Any]) -> None:
        self._node("GlobalAveragePool", self._inputs(layer), f"{layer['name']}.map")
        self._node("Flatten", [f"{layer['name']}.map"], layer["name"])

    def _classify(self, layer: dict[str, Any]) -> None:
        name = layer["name"]
        weights = [self._keep(f"{name}.{number}", self._weights[f"{name}/{number}"]) for number in range(2)]
        self._node("Gemm", [*self._inputs(layer), *weights], f"{name}.logits")
        self._node("Softmax", [f"{name}.logits"], name)


class _Photos:
    """Feeds onnxruntime's calibration."""

    def __init__(self, folder: Path, name: str) -> None:
        paths = sorted(folder.iterdir())[:_PHOTOS]
        self._batches = iter([{name: prepare(cv2.imread(str(path)))} for path in paths])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch."""
        return next(self._batches, None)


def main() -> None:
    """Make the int8 model, as onnxruntime's guide to static quantisation does."""
    onnx: Any = importlib.import_module("onnx")
    tools: Any = importlib.import_module("onnxruntime.quantization")
    arrays = np.load(sys.argv[1])
    layers = json.loads(str(arrays["layers"]))
    plain = sys.argv[3] + ".float.onnx"
    onnx.save(Graph(layers, arrays).model(), plain)
    tools.quantize_static(
        plain,
        sys.argv[3],
        type("Reader", (_Photos, tools.CalibrationDataReader), {})(Path(sys.argv[2]), layers[0]["name"]),
        quant_format=tools.QuantFormat.QDQ,
        per_channel=True,
        weight_type=tools.QuantType.QInt8,
        activation_type=tools.QuantType.QUInt8,
    )


if __name__ == "__main__":
    main()
