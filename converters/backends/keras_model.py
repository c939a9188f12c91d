"""A loaded Keras model: what it is, what it answers, and its export. Imports TensorFlow: child process only.

Keras 3 and Keras 2 (``tf_keras``) differ little here: their module is an argument, called ``keras``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from converters.backends.interface import Batch, ExportPlan, InputFacts, SourceFacts, SourceModel
from converters.backends.keras_archive import KerasArchive
from converters.backends.keras_layers import activation_of, leading_layers
from converters.backends.keras_memory import TrainingMemory, memory_of
from converters.backends.tf_export import (
    Function,
    as_pictures,
    export_function,
    first_sentence,
    require_inputs,
    run_function,
)
from converters.errors import spoilt_weights
from converters.tasks import OutputFacts
from device_runtime.errors import ModelError

_FLOAT_TYPES = ("float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def load_source(keras: ModuleType, path: Path, archive: KerasArchive) -> SourceModel:
    """Load a model whose archive was found safe. Raises ModelError as ``converters.backends.keras.open_source``."""
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers raise
        raise _unreadable(keras, path, archive, error) from error
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ModelError(
            f"{path}: expected a functional or sequential model, got {type(model).__name__} without fixed inputs",
            hint="build it with keras.Model(inputs, outputs) and save it again",
        )
    if not any(type(layer).__name__ != "InputLayer" for layer in model.layers):
        raise ModelError(f"{path}: the model has no layers that compute anything", hint="save the trained model")
    policies = sorted(_float_policies(model.get_config()))
    model = _in_float32(model) if policies else model
    require_inputs([(tensor.name, _dtype(tensor)) for tensor in model.inputs], str(path))
    return KerasSource(keras, path, model, policies)


class KerasSource:
    """A loaded Keras model; see ``backends.interface.SourceModel``.

    ``policies`` are the types, other than float32, that the saved model computed in.
    """

    def __init__(self, keras: ModuleType, path: Path, model: Any, policies: Sequence[str] = ()) -> None:
        self._keras = keras
        self._path = path
        self._model = model
        self._policies = policies
        own = tuple(InputFacts(tensor.name, tuple(tensor.shape), _dtype(tensor)) for tensor in model.inputs)
        self._inputs, self._leading, self._function = as_pictures(own, self._as_function(model))
        self._check_weights()

    def facts(self) -> SourceFacts:
        """Return the inputs' sizes, the outputs, and what the first layers do to pixels."""
        outputs = tuple(
            OutputFacts(
                name, tuple(side or 1 for side in tensor.shape), activation_of(tensor), whole="int" in _dtype(tensor)
            )
            for name, tensor in zip(_output_names(self._model), self._model.outputs, strict=True)
        )
        found = self._leading or (leading_layers(self._model)[0] if len(self._inputs) == 1 else None)
        tools = {self._keras.__name__: self._keras.__version__, "tensorflow": tf.__version__}
        remarks: tuple[str, ...] = ()
        if self._policies:
            saved = ", ".join(self._policies)
            remarks = (f"the model was saved to compute in {saved}; it is converted with the same weights in float32",)
        return SourceFacts(self._inputs, outputs, found, tools, remarks=remarks)

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return the outputs for a batch (n, …) of each input."""
        return run_function(self._function, inputs)

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write float32 TFLite with batch 1."""
        function = self._function
        if plan.bare:
            function = self._as_function(self._keras.Model(leading_layers(self._model)[1], self._model.outputs))
        export_function(function, target, plan, str(self._path))

    def memory(self) -> TrainingMemory | None:
        """Return what the model remembers of its training, for ``converters.training_fit``."""
        return None if self._leading or len(self._inputs) > 1 else memory_of(self._keras, self._model)

    def _as_function(self, model: Any) -> Function:
        # A Keras 3 variable is not one of TensorFlow's; it holds one.
        variables = [item if isinstance(item, tf.Variable) else item.value for item in model.variables]
        return Function(lambda *inputs: _call(model, inputs), tuple(map(_dtype, model.inputs)), variables)

    def _check_weights(self) -> None:
        for weight in self._model.weights:
            values = np.asarray(weight)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise spoilt_weights(self._path, getattr(weight, "path", weight.name))


def _call(model: Any, inputs: Sequence[Any]) -> list[Any]:
    """Call a model with its inputs in the order of ``model.inputs``; return its outputs in that of ``model.outputs``.

    A model may be made of a table of inputs, by name; it wants them as it was made.
    """
    given: Any = inputs[0]
    if len(inputs) > 1:
        given = tf.nest.pack_sequence_as(model.input, list(inputs))
    outputs: list[Any] = tf.nest.flatten(model(given, training=False))
    return outputs


def _dtype(tensor: Any) -> str:
    return str(tf.as_dtype(tensor.dtype).name)


def _output_names(model: Any) -> list[str]:
    """Return the names of the layers that give the outputs, numbered where one gives several."""
    names = [str(tensor._keras_history[0].name) for tensor in model.outputs]  # noqa: SLF001 - as in keras_layers
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        unique.append(f"{name}_{seen[name]}" if names.count(name) > 1 else name)
        seen[name] += 1
    return unique


def _in_float32(model: Any) -> Any:
    """Return the same model, of the same weights, that computes in float32."""
    twin = type(model).from_config(_told_float32(model.get_config()))
    weights = [np.asarray(values) for values in model.get_weights()]
    twin.set_weights([values if values.dtype.kind in "iub" else values.astype(np.float32) for values in weights])
    return twin


def _told_float32(value: Any) -> Any:
    """Return a model's configuration with float32 wherever another floating type is asked for."""
    if isinstance(value, dict):
        return {
            key: "float32" if key == "dtype" and _policy(item) in _FLOAT_TYPES else _told_float32(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_told_float32(item) for item in value)
    return value


def _float_policies(value: Any) -> set[str]:
    """Return the floating types, other than float32, that a model's configuration asks for."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            policy = _policy(item.get("dtype"))
            found |= {policy} & set(_FLOAT_TYPES)
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
    return found


def _policy(value: Any) -> str:
    """Return the name of a layer's type: text, or a serialised policy."""
    if isinstance(value, dict):
        inner = value.get("config")
        return str(inner.get("name", "")) if isinstance(inner, dict) else ""
    return str(value)


def _unreadable(keras: ModuleType, path: Path, archive: KerasArchive, error: Exception) -> ModelError:
    reason = first_sentence(error)
    written = f"written by Keras {archive.keras_version or '2'}, which " if archive.major < 3 else ""
    return ModelError(
        f"{path}: {written}{keras.__name__} {keras.__version__} cannot load{'' if written else ' it'}: {reason}",
        hint='copy it again; or build the model, model.load_weights(…) from this file, and model.save("model.keras")'
        if written
        else "copy or save it again",
    )
