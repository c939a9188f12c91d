"""TensorFlow SavedModel folders: one signature of them. Imports TensorFlow: child process only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from converters.backends.interface import Batch, ExportPlan, InputFacts, SourceFacts, SourceModel, SourceOptions
from converters.backends.saved_model_graph import choose_signature, read_graph
from converters.backends.tf_export import (
    Function,
    as_pictures,
    export_function,
    first_sentence,
    require_inputs,
    run_function,
)
from converters.errors import spoilt_weights
from converters.natural_order import natural_key
from converters.tasks import Activation, OutputFacts
from device_runtime.errors import ModelError

_PASSING = ("Identity", "Reshape", "Squeeze", "ExpandDims", "ConcatV2", "Cast")
_LINEAR = ("BiasAdd", "MatMul", "BatchMatMulV2", "Add", "AddV2", "Conv2D", "Mul", "Mean", "AvgPool")


def open_source(path: Path, options: SourceOptions) -> SourceModel:
    """Load a signature of a SavedModel; what can be refused is refused before anything is loaded.

    Raises:
        ModelError: it is damaged, unsafe, too large, or cannot be converted.
        UsageError: it has several signatures, or another one than is asked for.
    """
    graph = read_graph(path)
    name = choose_signature(graph, options.signature, path)
    try:
        loaded = tf.saved_model.load(str(path), tags=["serve"])
        signature = loaded.signatures[name]
    except Exception as error:  # TensorFlow raises its own and Python's
        raise ModelError(
            f"{path}: TensorFlow {tf.__version__} cannot load it: {first_sentence(error)}", hint="copy or save it again"
        ) from error
    return SavedModelSource(path, loaded, signature, options)


class SavedModelSource:
    """A loaded signature, inputs and outputs in the order of their names; see ``backends.interface.SourceModel``."""

    def __init__(self, path: Path, loaded: Any, signature: Any, options: SourceOptions) -> None:
        self._path = path
        specs = signature.structured_input_signature[1]
        own = tuple(
            InputFacts(name, _shape(specs[name], index, options, path), specs[name].dtype.name)
            for index, name in enumerate(sorted(specs, key=natural_key))
        )
        require_inputs([(item.name, item.dtype) for item in own], str(path))
        self._outputs = tuple(sorted(signature.structured_outputs, key=natural_key))

        def call(*inputs: Any) -> list[Any]:
            answers = signature(**{item.name: tensor for item, tensor in zip(own, inputs, strict=True)})
            return [answers[name] for name in self._outputs]

        function = Function(call, tuple(item.dtype for item in own), loaded)
        self._inputs, self._leading, self._function = as_pictures(own, function)
        _check_weights(signature.graph.variables, path)

    def facts(self) -> SourceFacts:
        """Return the signature's inputs and outputs, in the order of their names."""
        specs = [tf.TensorSpec((1, *item.shape[1:]), item.dtype) for item in self._inputs]
        concrete = tf.function(self._function.call, autograph=False).get_concrete_function(*specs)
        tensors = convert_variables_to_constants_v2(concrete, lower_control_flow=False).outputs
        outputs = tuple(self._output(name, tensor) for name, tensor in zip(self._outputs, tensors, strict=True))
        return SourceFacts(self._inputs, outputs, self._leading, {"tensorflow": tf.__version__})

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return the outputs for a batch (n, …) of each input; one by one where the signature takes one only."""
        try:
            return run_function(self._function, inputs)
        except (tf.errors.InvalidArgumentError, ValueError, TypeError):
            rows = [
                run_function(self._function, [batch[row : row + 1] for batch in inputs])
                for row in range(len(inputs[0]))
            ]
            return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write float32 TFLite with batch 1."""
        export_function(self._function, target, plan, str(self._path))

    def _output(self, name: str, tensor: Any) -> OutputFacts:
        if tensor.shape.rank is None:
            raise ModelError(
                f"{self._path}: the shape of output {name} depends on the input's values",
                hint="save the model with tf.ensure_shape on its outputs",
            )
        shape = tuple(side or 1 for side in tensor.shape)
        return OutputFacts(name, shape, _activation(tensor.op), whole=tensor.dtype.is_integer)


def _shape(spec: Any, index: int, options: SourceOptions, path: Path) -> tuple[int | None, ...]:
    if spec.shape.rank is not None:
        return tuple(spec.shape)
    if index < len(options.input_shapes):
        return options.input_shapes[index]
    raise ModelError(
        f"{path}: input {spec.name} has no shape, not even a number of axes", hint="give it: --input-shape 1x224x224x3"
    )


def _check_weights(variables: Sequence[Any], path: Path) -> None:
    for variable in variables:
        if variable.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(variable))):
            raise spoilt_weights(path, variable.name)


def _activation(operation: Any) -> Activation:
    """Tell the function that computes an output, looking through operators that only move values."""
    while operation.type in _PASSING and operation.inputs:
        operation = operation.inputs[0].op
    if operation.type == "Softmax":
        return Activation.SOFTMAX
    if operation.type == "Sigmoid":
        return Activation.SIGMOID
    return Activation.LINEAR if operation.type in _LINEAR else Activation.UNKNOWN
