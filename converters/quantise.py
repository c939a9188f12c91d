"""Applies a recipe to a float32 TFLite model with litert-quantizer, and makes the result right. Child process only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import calibrator, qtyping, quantizer, recipe_manager
from litert_quantizer.utils import qsv_utils

from converters.arrays import open_array
from converters.errors import ConversionError
from converters.jobs import Done, InputEncoding, Quantise
from converters.op_versions import needed_version
from converters.recipe import QuantRecipe, recipe_named
from converters.tflite_reader import parse_tflite
from device_runtime.contract.events import Events, Progress
from device_runtime.files import write_bytes
from device_runtime.vision.frame import Tensor
from device_runtime.vision.prepare import normalise

_INT8_OFFSET = 128
_CHUNK = 8
_GRANULARITY = {"tensor": qtyping.QuantGranularity.TENSORWISE, "channel": qtyping.QuantGranularity.CHANNELWISE}
_STALE_METADATA = (b"min_runtime_version", b"CONVERSION_METADATA")
"""What the float converter said of its own file; it is not true of ours."""


def quantise(job: Quantise, events: Events) -> Done:
    """Write a quantised model.

    Raises:
        ConversionError: the model has something that the recipe cannot quantise.
        EdgeError: the disk is full.
    """
    recipe = recipe_named(job.recipe)
    model = _tidied(_unpack(Path(job.model).read_bytes()), job)
    if recipe.weights != "float32":
        model = _unpack(_quantised(_pack(model), recipe, job, events))
    if job.encoding is not None:
        _take_bytes(model, job.encoding)
    write_bytes(Path(job.target), _pack(_with_versions(model, job.target)))
    return Done({name: version(name) for name in ("litert-quantizer", "ai-edge-litert")})


def _tidied(model: Any, job: Quantise) -> Any:
    """Put the outputs in the wanted order, and give input and outputs names that people know.

    The converter orders them as it likes; the names in the signature tell which is which.
    """
    graph = model.subgraphs[0]
    signature = model.signatureDefs[0]
    ordered = [tensor.tensorIndex for tensor in sorted(signature.outputs, key=lambda item: _natural(item.name))]
    if sorted(ordered) != sorted(graph.outputs) or len(ordered) != len(job.names):
        raise ConversionError(
            f"expected {len(job.names)} outputs in the exported model, got {len(ordered)} in its signature and "
            f"{len(graph.outputs)} in its graph",
            hint="an output that is given out twice, or that is an input, cannot be converted",
        )
    graph.outputs = [ordered[index] for index in job.order]
    taken = {tensor.name for tensor in graph.tensors}
    for index, name in ((graph.inputs[0], "image"), *zip(graph.outputs, job.names, strict=True)):
        if name.encode() not in taken:
            graph.tensors[index].name = name.encode()
    model.metadata = [item for item in model.metadata or [] if item.name not in _STALE_METADATA]
    return model


def _natural(name: bytes) -> list[tuple[int, str]]:
    """Sort output_10 after output_9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name.decode())]


def _quantised(content: bytes, recipe: QuantRecipe, job: Quantise, events: Events) -> bytes:
    plan = _plan(recipe)
    tool = quantizer.Quantizer(content, plan)
    ranges = _ranges(content, plan, job, events) if recipe.calibrates else None
    try:
        result = tool.quantize(ranges, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ConversionError(
            f"recipe {recipe.name} cannot quantise this model: {error}", hint="try: --recipe float16"
        ) from error
    return bytes(result.quantized_model)


def _plan(recipe: QuantRecipe) -> Any:
    """Return the recipe as litert-quantizer takes it."""
    manager = recipe_manager.RecipeManager()
    every, dense = qtyping.TFLOperationName.ALL_SUPPORTED, qtyping.TFLOperationName.FULLY_CONNECTED
    if recipe.weights == "float16":
        manager.add_weight_only_config(".*", every, 16, algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING)
    else:
        for name, granularity in ((every, recipe.granularity), (dense, recipe.dense_granularity)):
            if recipe.activations == "int8":
                manager.add_static_config(".*", name, 8, 8, _GRANULARITY[granularity])
            else:
                manager.add_dynamic_config(".*", name, 8, _GRANULARITY[granularity])
    return manager.get_quantization_recipe()


def _ranges(content: bytes, plan: Any, job: Quantise, events: Events) -> dict[str, Any]:
    """Measure the range of every activation: its smallest and largest value over all samples.

    The default of the library is a moving average, which depends on the order of the pictures.
    """
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(plan)
    meter = calibrator.Calibrator(content, num_threads=2, qsv_update_func=qsv_utils.min_max_update)
    (key, signature), *_ = meter.get_signature_list().items()
    name = signature["inputs"][0]
    samples = open_array(Path(job.samples))
    for start in range(0, len(samples), _CHUNK):
        chunk = [{name: image} for image in _images(samples[start : start + _CHUNK], job)]
        meter.calibrate({key: chunk}, manager)
        events(Progress(min(start + _CHUNK, len(samples)), len(samples), "pictures"))
    ranges: dict[str, Any] = meter.get_model_qsvs()
    _fix_input_range(ranges, content, job.encoding)
    return ranges


def _images(samples: Tensor, job: Quantise) -> Iterator[Tensor]:
    """Yield (1, height, width, channels) float32 images as the model takes them."""
    for sample in samples:
        yield normalise(np.asarray(sample), job.prep)[None]


def _fix_input_range(ranges: dict[str, Any], content: bytes, encoding: InputEncoding | None) -> None:
    """Give the input the range of a whole byte, whatever the pictures held, so that its steps are bytes."""
    if encoding is None:
        return
    found = ranges[parse_tflite(content, "the float model").inputs[0].name]
    found["min"] = np.full_like(found["min"], encoding.scale * (0 - encoding.zero_point))
    found["max"] = np.full_like(found["max"], encoding.scale * (255 - encoding.zero_point))


def _take_bytes(model: Any, encoding: InputEncoding) -> None:
    """Put a QUANTIZE from uint8 to int8 in front: with zero points 128 apart it is an XOR with 0x80."""
    graph = model.subgraphs[0]
    inner_index = graph.inputs[0]
    inner = graph.tensors[inner_index]
    found = inner.quantization
    if inner.type != schema.TensorType.INT8 or found is None or found.scale is None:
        raise ConversionError(
            "the model's input cannot be quantised: its first operator takes floats only",
            hint="try: --recipe float16 or --recipe dynamic-int8",
        )
    scale, zero_point = float(found.scale[0]), int(found.zeroPoint[0]) + _INT8_OFFSET
    if abs(scale / encoding.scale - 1) > 1e-3 or zero_point != encoding.zero_point:
        raise ConversionError(
            f"expected an input with scale {encoding.scale:.6g} and zero point {encoding.zero_point} from the "
            f"quantiser, got {scale:.6g} and {zero_point}"
        )
    found.scale = [encoding.scale]
    outer = schema.TensorT()
    outer.name, outer.shape, outer.type, outer.buffer = inner.name, inner.shape, schema.TensorType.UINT8, 0
    outer.quantization = schema.QuantizationParametersT()
    outer.quantization.scale, outer.quantization.zeroPoint = [encoding.scale], [encoding.zero_point]
    inner.name = (inner.name or b"input") + b"_int8"
    graph.tensors.append(outer)
    outer_index = len(graph.tensors) - 1
    operator = schema.OperatorT()
    operator.opcodeIndex = _quantize_code(model)
    operator.inputs, operator.outputs = [outer_index], [inner_index]
    operator.builtinOptionsType = schema.BuiltinOptions.QuantizeOptions
    operator.builtinOptions = schema.QuantizeOptionsT()
    graph.operators.insert(0, operator)
    graph.inputs = [outer_index]
    for signature in model.signatureDefs or []:
        for tensor in signature.inputs:
            if tensor.tensorIndex == inner_index:
                tensor.tensorIndex = outer_index


def _quantize_code(model: Any) -> int:
    wanted = schema.BuiltinOperator.QUANTIZE
    for index, code in enumerate(model.operatorCodes):
        if code.builtinCode == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = wanted
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _with_versions(model: Any, where: str) -> Any:
    """State the operator versions that the tensors' types need; litert-quantizer leaves the float model's."""
    info = parse_tflite(_pack(model), where)
    for graph, known in zip(model.subgraphs, info.subgraphs, strict=True):
        for operator, facts in zip(graph.operators, known.operators, strict=True):
            code = model.operatorCodes[operator.opcodeIndex]
            code.version = max(code.version, needed_version(facts, known))
    return model


def _unpack(content: bytes) -> Any:
    """Read a model; values that lie behind its tables (``offset`` is more than 1 then) are brought back into them."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    return model


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
