"""A loaded Keras 3 model: what it is, what it answers, and its export. Imports TensorFlow: child process only."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from converters.backends.interface import Batch, ExportPlan, InputFacts, LeadingLayers, SourceFacts, SourceModel
from converters.backends.keras_archive import KerasArchive
from converters.errors import ConversionError
from converters.tasks import Activation, OutputFacts
from device_runtime.errors import ModelError
from device_runtime.files import write_bytes

_PASSING = ("Reshape", "Flatten", "Permute", "Concatenate", "Identity", "Dropout", "InputLayer")
_IDLE = ("Identity", "Dropout", "GaussianNoise", "InputLayer")
"""Layers that do nothing when a model is used; random augmentation (Random…) is told by its name."""
_MAX_NORMALISED = 16.0
"""Leading layers that map pixels beyond this do not expect 0–255; trained inputs are within about ±3."""


def load_source(path: Path, archive: KerasArchive) -> SourceModel:
    """Load a model whose archive was found safe. Raises ModelError as ``converters.backends.keras.open_source``."""
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        raise _unreadable(path, archive, error) from error
    return KerasSource(path, model)


class KerasSource:
    """A loaded Keras model; see ``backends.interface.SourceModel``."""

    def __init__(self, path: Path, model: Any) -> None:
        self._path = path
        self._model = model
        if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
            raise ModelError(
                f"{path}: expected a functional or sequential model, got {type(model).__name__} without fixed inputs",
                hint="build it with keras.Model(inputs, outputs) and save it again",
            )
        self._check_weights()

    def facts(self) -> SourceFacts:
        """Return the input's size, the outputs, and what the first layers do to pixels."""
        inputs = tuple(InputFacts(tensor.name, tuple(tensor.shape), str(tensor.dtype)) for tensor in self._model.inputs)
        outputs = tuple(
            OutputFacts(str(name), tuple(side or 1 for side in tensor.shape), _activation(tensor))
            for name, tensor in zip(self._model.output_names, self._model.outputs, strict=True)
        )
        found, _ = _leading(self._model)
        tools = {"keras": keras.__version__, "tensorflow": tf.__version__}
        return SourceFacts(inputs, outputs, found, tools)

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return the outputs for a batch (n, …) of each input."""
        given = inputs[0] if len(inputs) == 1 else list(inputs)
        outputs = keras.tree.flatten(self._model(given, training=False))
        return [np.asarray(keras.ops.convert_to_numpy(output), np.float32) for output in outputs]

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write float32 TFLite with batch 1, through a SavedModel.

        ``from_concrete_functions`` would drop the weights of a Keras 3 model without an error.
        """
        model = self._model
        if plan.bare:
            _, tensor = _leading(model)
            model = keras.Model(tensor, model.outputs)
        if plan.mean:
            model = _normalised(model, plan)
        signature = [
            keras.InputSpec(shape=shape, dtype=tensor.dtype)
            for shape, tensor in zip(plan.shapes, self._model.inputs, strict=True)
        ]
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            model.export(folder, input_signature=signature, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            try:
                content = converter.convert()
            except Exception as error:  # the converter raises its own and Python's
                raise _unconvertible(self._path, error) from error
        write_bytes(target, content)

    def _check_weights(self) -> None:
        for weight in self._model.weights:
            values = np.asarray(keras.ops.convert_to_numpy(weight))
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ModelError(
                    f"{self._path}: weights {weight.path} hold NaN or infinity",
                    hint="train the model again; a lower learning rate or clipped gradients help",
                )


def _unreadable(path: Path, archive: KerasArchive, error: Exception) -> ModelError:
    reason = _first_sentence(error)
    if archive.major < 3:
        return ModelError(
            f"{path}: written by Keras {archive.keras_version or '2'}, which Keras {keras.__version__} cannot read: "
            f"{reason}",
            hint='build the model in Keras 3, model.load_weights(…) from this file, then model.save("model.keras")',
        )
    return ModelError(f"{path}: Keras {keras.__version__} cannot load it: {reason}", hint="copy or save it again")


def _unconvertible(path: Path, error: Exception) -> ConversionError:
    text = str(error)
    foreign = sorted(set(re.findall(r"'?tf\.(\w+)'? op is neither a custom op nor a flex op", text)))
    if foreign:
        return ConversionError(
            f"{path}: TFLite has no operator for {', '.join(foreign)}",
            hint="build that part of the model from layers that TFLite has, or compute it after the model",
        )
    return ConversionError(f"{path}: TensorFlow's converter failed: {_first_sentence(error)}")


def _first_sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _normalised(model: Any, plan: ExportPlan) -> Any:
    """Put ``(pixel - mean) / std`` in front, as a depthwise 1 x 1 convolution.

    Quantised, its weights have a scale per channel and its bias 32 bits, so that nothing is lost but the rounding of
    its result; a subtraction and a multiplication would round twice, with one scale for all channels.
    """
    image = keras.Input(plan.shapes[0][1:])
    channels = plan.shapes[0][3]
    layer = keras.layers.DepthwiseConv2D(1, name="normalise_pixels")
    normalised = layer(image)
    mean, std = (np.broadcast_to(np.array(values, np.float32), (channels,)) for values in (plan.mean, plan.std))
    layer.set_weights([(1 / std).reshape(1, 1, channels, 1), -mean / std])
    return keras.Model(image, model(normalised))


def _leading(model: Any) -> tuple[LeadingLayers | None, Any]:
    """Find the layers at the start that normalise pixels, and the tensor behind them."""
    tensor = model.inputs[0]
    scale, offset = np.ones(1), np.zeros(1)
    names: list[str] = []
    while True:
        users = [layer for layer in model.layers if _reads(layer, tensor)]
        if len(users) != 1:
            break
        kind = type(users[0]).__name__
        if kind in ("Rescaling", "Normalization"):
            factor, shift = _affine(users[0])
            scale, offset = scale * factor, offset * factor + shift
            names.append(users[0].name)
        elif kind not in _IDLE and not kind.startswith("Random"):
            break
        tensor = users[0].output
    if not names:
        return _nested_leading(model, tensor), tensor
    return _as_leading(names, scale, offset, removable=True), tensor


def _nested_leading(model: Any, tensor: Any) -> LeadingLayers | None:
    """Find normalising layers at the start of a model inside the model; they cannot be cut off from outside."""
    users = [layer for layer in model.layers if _reads(layer, tensor)]
    if len(users) != 1 or not isinstance(users[0], keras.Model) or not getattr(users[0], "inputs", None):
        return None
    found, _ = _leading(users[0])
    return None if found is None else LeadingLayers(found.names, found.mean, found.std, removable=False)


def _as_leading(names: list[str], scale: Any, offset: Any, *, removable: bool) -> LeadingLayers | None:
    """Return layers that compute ``scale * x + offset`` as mean and std, if pixels 0–255 fit them."""
    ends = np.abs(np.stack([offset + 0 * scale, offset + 255 * scale]))
    if not np.all(scale > 0) or ends.max() > _MAX_NORMALISED:
        return None
    mean, std = np.broadcast_arrays(-offset / scale, 1 / scale)
    if np.ptp(mean) == 0 and np.ptp(std) == 0:
        mean, std = mean[:1], std[:1]
    return LeadingLayers(tuple(names), tuple(map(float, mean)), tuple(map(float, std)), removable)


def _affine(layer: Any) -> tuple[Any, Any]:
    """Return scale and offset of a Rescaling or Normalization layer, per channel or one for all."""
    if type(layer).__name__ == "Rescaling":
        return np.ravel(np.array(layer.scale, np.float64)), np.ravel(np.array(layer.offset, np.float64))
    mean = np.ravel(keras.ops.convert_to_numpy(layer.mean)).astype(np.float64)
    variance = np.ravel(keras.ops.convert_to_numpy(layer.variance)).astype(np.float64)
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    if layer.invert:
        return deviation, mean
    return 1 / deviation, -mean / deviation


def _reads(layer: Any, tensor: Any) -> bool:
    return any(tensor is given for node in layer._inbound_nodes for given in node.input_tensors)  # noqa: SLF001 - Keras has no public way to ask who reads a tensor


def _activation(tensor: Any) -> Activation:
    """Tell the function that computes an output, looking through layers that only move values."""
    while True:
        layer = getattr(tensor, "_keras_history", (None,))[0]
        kind = type(layer).__name__
        if kind == "Softmax":
            return Activation.SOFTMAX
        if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
            position = tensor._keras_history[2]  # noqa: SLF001 - as above
            return _activation(layer.outputs[position])
        if kind in _PASSING and layer is not None:
            given = keras.tree.flatten(layer.input)[0]
            if given is tensor:
                return Activation.UNKNOWN
            tensor = given
            continue
        function = getattr(layer, "activation", None)
        return _named(getattr(function, "__name__", kind.lower()))


def _named(name: str) -> Activation:
    return {"softmax": Activation.SOFTMAX, "sigmoid": Activation.SIGMOID, "linear": Activation.LINEAR}.get(
        name, Activation.UNKNOWN
    )
