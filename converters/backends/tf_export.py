"""Writes a TensorFlow function as float32 TFLite, and tells what TFLite lacks. Child process only."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from converters.backends.interface import Batch, ExportPlan, InputFacts, LeadingLayers
from converters.backends.tf_casts import without_casts
from converters.errors import ConversionError
from converters.tflite_reader import parse_tflite
from device_runtime.errors import ModelError
from device_runtime.files import write_bytes

ACCEPTED = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
"""Types of inputs that a TFLite model and a ModelSpec have."""
_WAYS_OUT = {
    "StringToHashBucketFast": "turn text into numbers before the model",
    "LookupTableFindV2": "look words up before the model, and feed it their numbers",
    "Conv3DBackpropInputV2": "use UpSampling3D and Conv3D in its place",
    "RandomUniform": "leave random layers out of the model that is saved for use",
    "RandomStandardNormal": "leave random layers out of the model that is saved for use",
}
_WAY_OUT = "build that part of the model from layers that TFLite has, or compute it before or after the model"


@dataclass(frozen=True)
class Function:
    """A TensorFlow function: takes one tensor per input, and gives a list of tensors.

    ``dtypes`` are those of its inputs; ``holder`` keeps the variables that it uses.
    """

    call: Callable[..., Sequence[Any]]
    dtypes: tuple[str, ...]
    holder: Any


def require_inputs(dtypes: Sequence[tuple[str, str]], where: str) -> None:
    """Refuse inputs that no TFLite model has.

    Args:
        dtypes: name and dtype of each input.
        where: the file, for messages.

    Raises:
        ModelError: there is no input, or one of another type.
    """
    if not dtypes:
        raise ModelError(f"{where}: expected a model with 1 input or more, got none")
    for name, dtype in dtypes:
        if dtype == "float64":
            raise ModelError(
                f"{where}: input {name} is float64, and TFLite's operators compute in float32",
                hint='build the model with keras.config.set_floatx("float32") or tf.float32, and save it again',
            )
        if dtype == "string":
            raise ModelError(
                f"{where}: input {name} takes text, and the boards' runtimes feed numbers only",
                hint="turn text into numbers before the model, and save the part behind that",
            )
        if dtype not in ACCEPTED:
            raise ModelError(f"{where}: input {name}: expected one of {', '.join(ACCEPTED)}, got {dtype}")


def as_pictures(
    inputs: tuple[InputFacts, ...], function: Function
) -> tuple[tuple[InputFacts, ...], LeadingLayers | None, Function]:
    """Let a model whose only input is a uint8 picture take the same pixels (0–255) as floats, as every other does.

    Its own conversion of bytes to floats is then a detour, which ``export_function`` takes out.

    Returns:
        The inputs, the normalisation that this states (pixels as they are), and the function; as given where there is
        no such input.
    """
    if len(inputs) != 1 or not inputs[0].is_image or inputs[0].dtype != "uint8":
        return inputs, None, function
    wrapped = Function(lambda image: function.call(tf.cast(image, tf.uint8)), ("float32",), function.holder)
    leading = LeadingLayers((f"its uint8 input {inputs[0].name}",), (0.0,), (1.0,), removable=False)
    return (replace(inputs[0], dtype="float32"),), leading, wrapped


def run_function(function: Function, inputs: Sequence[Batch]) -> list[Batch]:
    """Return a function's outputs, as float32, for a batch (n, …) of each input."""
    given = [tf.convert_to_tensor(batch, dtype) for batch, dtype in zip(inputs, function.dtypes, strict=True)]
    return [np.asarray(output, np.float32) for output in function.call(*given)]


def export_function(function: Function, target: Path, plan: ExportPlan, where: str) -> None:
    """Write a function as float32 TFLite, with positions in the names of its signature.

    Inputs are named ``input_0`` …, outputs ``output_0`` …. It goes through a SavedModel:
    ``from_concrete_functions`` drops the weights of a Keras 3 model without an error, and a SavedModel of a variable
    that is not kept is an error.

    Args:
        function: what to export.
        target: the ``.tflite`` to write.
        plan: the whole shape of each input, and the normalisation to put in front.
        where: the source, for messages.

    Raises:
        ConversionError: TensorFlow's converter fails, or TFLite lacks an operator.
    """

    def serve(*inputs: Any) -> dict[str, Any]:
        given = [_normalised(inputs[0], plan)] if plan.mean else inputs
        return {f"output_{index}": tensor for index, tensor in enumerate(function.call(*given))}

    specs = [
        tf.TensorSpec(shape, dtype, name=f"input_{index}")
        for index, (shape, dtype) in enumerate(zip(plan.shapes, function.dtypes, strict=True))
    ]
    module = tf.Module()
    module.held = function.holder
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            concrete = tf.function(serve, autograph=False).get_concrete_function(*specs)
            tf.saved_model.save(module, folder, signatures={"serving_default": concrete})
            _write_out_layers(Path(folder) / "saved_model.pb")
            content = without_casts(tf.lite.TFLiteConverter.from_saved_model(folder).convert())
        except Exception as error:  # TensorFlow raises its own and Python's
            raise unconvertible(where, error) from error
    foreign = parse_tflite(content, where).custom_operators
    if foreign:
        raise _lacking(where, foreign)
    write_bytes(target, content)


def _normalised(image: Any, plan: ExportPlan) -> Any:
    """Return ``(pixel - mean) / std`` of a picture, as a depthwise 1 x 1 convolution.

    Quantised, its weights have a scale per channel and its bias 32 bits, so that nothing is lost but the rounding of
    its result; a subtraction and a multiplication would round twice, with one scale for all channels.
    """
    channels = plan.shapes[0][3]
    mean, std = (np.broadcast_to(np.array(values, np.float32), (channels,)) for values in (plan.mean, plan.std))
    weights = (1 / std).reshape(1, 1, channels, 1)
    return tf.nn.depthwise_conv2d(image, weights, (1, 1, 1, 1), "VALID") - mean / std


def _write_out_layers(path: Path) -> None:
    """Let recurrent layers be converted step by step, as loops.

    Keras 2 marks the function of an LSTM by this attribute, and the converter puts TFLite's own operator in its place,
    which keeps its state from one sample to the next: only the first answer would be right.
    """
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            function.attr.pop("api_implements", None)
    write_bytes(path, saved.SerializeToString())


def unconvertible(where: str, error: Exception) -> ConversionError:
    """Return what a failure of TensorFlow's converter means."""
    text = str(error)
    foreign = re.findall(r"'?tf\.(\w+)'? op is neither a custom op nor a flex op", text)
    foreign += re.findall(r"\bFlex([A-Z]\w+)", text)
    if re.search(r"\bf64\b|xf64>|float64", text):
        at = f", as in {', '.join(sorted(set(foreign)))}" if foreign else ""
        return ConversionError(
            f"{where}: it computes in float64{at}, for which TFLite has no operators",
            hint="build the model with float32 and save it again",
        )
    if foreign:
        return _lacking(where, foreign)
    if "tensor list ops is failed" in text:
        return ConversionError(
            f"{where}: its recurrent layers were saved for any batch, and TFLite's loops need a fixed one",
            hint="convert the .keras or .h5 file itself; or export the model with keras.Input(…, batch_size=1)",
        )
    return ConversionError(f"{where}: TensorFlow's converter failed: {first_sentence(error)}")


def first_sentence(error: Exception) -> str:
    """Return the kind of an error and the first line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__


def _lacking(where: str, operators: Sequence[str]) -> ConversionError:
    names = sorted({name.removeprefix("Flex") for name in operators})
    hints = [_WAYS_OUT[name] for name in names if name in _WAYS_OUT]
    return ConversionError(
        f"{where}: TFLite has no operator for {', '.join(names)}", hint="; ".join(hints) if hints else _WAY_OUT
    )
