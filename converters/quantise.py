"""Applies a recipe to a float32 TFLite model with litert-quantizer, and makes the result right. Child process only."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import qtyping, quantizer, recipe_manager

from converters.byte_input import take_bytes
from converters.equalise import equalised
from converters.errors import ConversionError
from converters.jobs import Done, InputEncoding, Quantise
from converters.kept_float import inner_scopes, kept_scopes
from converters.op_versions import needed_version
from converters.ranges import Ranges, read_ranges, whole
from converters.recipe import QuantRecipe
from converters.tflite_reader import TfliteInfo, parse_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import Events, Notice
from device_runtime.files import write_bytes

_Operation = qtyping.TFLOperationName
_GRANULARITY = {"tensor": qtyping.QuantGranularity.TENSORWISE, "channel": qtyping.QuantGranularity.CHANNELWISE}
_BITS = {"int4": 4, "int8": 8, "int16": 16}
_LEAST_STEPS = 4
"""Pictures whose input values span fewer steps of a byte were divided by 255 once too often."""

_INTEGERS = (schema.TensorType.INT8, schema.TensorType.INT16)
_FOUR_BITS = (_Operation.CONV_2D, _Operation.FULLY_CONNECTED)
"""What has int4 weights in an int4 recipe; all other operators have kernels for int8 only."""


def quantise(job: Quantise, events: Events) -> Done:
    """Write a quantised model.

    Raises:
        ConversionError: the model has something that the recipe cannot quantise.
        UsageError: the recipe keeps layers in float that the model does not have.
        EdgeError: the disk is full.
    """
    content = Path(job.model).read_bytes()
    known = parse_tflite(content, job.model)
    ranges = read_ranges(Path(job.ranges)) if job.recipe.calibrates else None
    if job.recipe.equalise:
        content, ranges, changed = equalised(content, ranges)
        if not changed:
            events(Notice(f"recipe {job.recipe.name}: there is nothing to equalise in this model"))
    if job.recipe.weights not in ("float32", "stored"):
        content = quantised(content, job.recipe, ranges, job.encoding)
    model = unpack(content)
    _complete_outputs(model)
    _keep_names(model, known)
    if job.encoding is not None:
        take_bytes(model, job.encoding)
    write_bytes(Path(job.target), pack(with_versions(model, job.target)))
    return Done({name: version(name) for name in ("litert-quantizer", "ai-edge-litert")})


def quantised(
    content: bytes, recipe: QuantRecipe, ranges: Ranges | None, encoding: InputEncoding | None = None
) -> bytes:
    """Return a float model quantised, its operator versions as they were.

    Args:
        content: a tidy float model.
        recipe: what to store how.
        ranges: of every activation, for a recipe that needs them.
        encoding: the bytes that the input's int8 values stand for, or None for the measured range.

    Raises:
        ConversionError: the model has something that the recipe cannot quantise.
        UsageError: the recipe keeps layers in float that the model does not have.
    """
    info = parse_tflite(content, "the float model")
    found = None if ranges is None else _with_input_range(whole(ranges), info, encoding)
    kept = kept_scopes(info, recipe.keep_float) + (inner_scopes(info) if recipe.calibrates else ())
    plan = plan_of(recipe, kept)
    try:
        result = quantizer.Quantizer(content, plan).quantize(
            found, enable_progress_bar=False, enable_progress_report=False
        )
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ConversionError(
            f"recipe {recipe.name} cannot quantise this model: {error}",
            hint="try: --recipe float16, or keep that operator in float: --recipe wi8c-ai8+keep:OPERATOR",
        ) from error
    return bytes(result.quantized_model)


def plan_of(recipe: QuantRecipe, kept: tuple[str, ...], where: str = ".*") -> Any:
    """Return a recipe as litert-quantizer takes it.

    Of the rules that match an operator the last one counts, unless the library has no kernel for it.

    Args:
        recipe: what to store how.
        kept: the scopes of operators that stay float.
        where: a regular expression of the scopes of those that do not.
    """
    manager = recipe_manager.RecipeManager()
    if recipe.weights == "float16":
        manager.add_weight_only_config(
            where, _Operation.ALL_SUPPORTED, 16, algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING
        )
    else:
        for operation in (_Operation.ALL_SUPPORTED, _Operation.FULLY_CONNECTED, _Operation.DEPTHWISE_CONV_2D):
            _add(manager, where, recipe, operation, 8)
        if recipe.weights == "int4":
            for operation in _FOUR_BITS:
                _add(manager, where, recipe, operation, 4)
    leave = quantizer.AlgorithmName.NO_QUANTIZE
    if recipe.float_io:
        for operation in (_Operation.INPUT, _Operation.OUTPUT):
            manager.add_quantization_config(".*", operation, algorithm_key=leave)
    for scope in kept:
        manager.add_quantization_config(exactly(scope), _Operation.ALL_SUPPORTED, algorithm_key=leave)
    return manager.get_quantization_recipe()


def exactly(scope: str) -> str:
    """Return a regular expression that matches one operator's scope."""
    return f"^{re.escape(scope)}$"


def with_versions(model: Any, where: str) -> Any:
    """State the operator versions that the tensors' types need; litert-quantizer leaves the float model's."""
    info = parse_tflite(pack(model), where)
    for graph, known in zip(model.subgraphs, info.subgraphs, strict=True):
        for operator, facts in zip(graph.operators, known.operators, strict=True):
            code = model.operatorCodes[operator.opcodeIndex]
            code.version = max(code.version, needed_version(facts, known))
    return model


def _add(manager: Any, where: str, recipe: QuantRecipe, operation: Any, bits: int) -> None:
    dense = operation is _Operation.FULLY_CONNECTED
    granularity = _GRANULARITY[recipe.dense_granularity if dense else recipe.granularity]
    if recipe.calibrates:
        manager.add_static_config(where, operation, _BITS[recipe.activations], bits, granularity)
    elif recipe.weight_only:
        manager.add_weight_only_config(where, operation, bits, granularity)
    elif operation is _Operation.DEPTHWISE_CONV_2D:
        # Hybrid kernels of both engines read one scale per channel, whatever is there: NaN, or noise, otherwise.
        manager.add_dynamic_config(where, operation, bits, qtyping.QuantGranularity.CHANNELWISE)
    else:
        manager.add_dynamic_config(where, operation, bits, granularity)


def _complete_outputs(model: Any) -> None:
    """Give an output that nothing reads the type of its operator's other outputs.

    litert-quantizer leaves it float, and XNNPACK then refuses a SPLIT of int8 whose parts are not all used.
    """
    for graph in model.subgraphs:
        read = {int(index) for operator in graph.operators for index in operator.inputs} | set(graph.outputs)
        for operator in graph.operators:
            outputs = [graph.tensors[index] for index in operator.outputs]
            done = next((tensor for tensor in outputs if tensor.type in _INTEGERS and _scaled(tensor)), None)
            for index, tensor in zip(operator.outputs, outputs, strict=True):
                if done is not None and index not in read and tensor.type == schema.TensorType.FLOAT32:
                    tensor.type, tensor.quantization = done.type, done.quantization


def _keep_names(model: Any, known: TfliteInfo) -> None:
    """Give inputs and outputs the names that they had: litert-quantizer calls one behind a DEQUANTIZE otherwise."""
    graph = model.subgraphs[0]
    named = {tensor.name: tensor for tensor in graph.tensors}
    for indices, tensors in ((graph.inputs, known.inputs), (graph.outputs, known.outputs)):
        for index, tensor in zip(indices, tensors, strict=True):
            outer, name = graph.tensors[index], tensor.name.encode()
            if name in named:
                named[name].name = outer.name
            outer.name = name


def _scaled(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.scale is not None


def _with_input_range(ranges: Ranges, info: TfliteInfo, encoding: InputEncoding | None) -> Ranges:
    """Give the input the range of a whole byte, whatever the pictures held, so that its steps are bytes.

    Raises:
        ConversionError: the pictures were measured with another normalisation than the one that bytes will have.
    """
    if encoding is None:
        return ranges
    name = info.inputs[0].name
    known = ranges[name]
    low, high = (encoding.scale * (byte - encoding.zero_point) for byte in (0, 255))
    seen_low, seen_high = float(known["min"].min()), float(known["max"].max())
    inside = seen_low >= low - encoding.scale and seen_high <= high + encoding.scale
    if not inside or seen_high - seen_low < _LEAST_STEPS * encoding.scale:
        raise ConversionError(
            f"ranges were measured with inputs of {seen_low:.4g} to {seen_high:.4g}, where bytes mean {low:.4g} to "
            f"{high:.4g}: the pictures were normalised otherwise than the model's input is",
            hint="check --normalise, and that the pictures are like those of the training",
        )
    bounds = {"min": np.full_like(known["min"], low), "max": np.full_like(known["max"], high)}
    return ranges | {name: bounds}
