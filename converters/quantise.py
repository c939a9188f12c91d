"""Applies a recipe to a float32 TFLite model with litert-quantizer, and makes the result right. Child process only."""

from __future__ import annotations

import io
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import calibrator, qtyping, quantizer, recipe_manager
from litert_quantizer.utils import qsv_utils

from converters.arrays import open_array
from converters.errors import ConversionError
from converters.jobs import Calibrate, Done, InputEncoding, Quantise, Tidy
from converters.op_versions import needed_version
from converters.recipe import RECIPES, QuantRecipe
from converters.tflite_reader import parse_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.contract.events import Events, Progress
from device_runtime.files import write_bytes
from device_runtime.vision.frame import Tensor
from device_runtime.vision.normalise import normalise

_INT8_OFFSET = 128
_CHUNK = 8
_GRANULARITY = {"tensor": qtyping.QuantGranularity.TENSORWISE, "channel": qtyping.QuantGranularity.CHANNELWISE}
_STALE_METADATA = (b"min_runtime_version", b"CONVERSION_METADATA")
"""What the float converter said of its own file; it is not true of ours."""


def tidy(job: Tidy) -> Done:
    """Rewrite a float model with known names, and its outputs in the decoder's order.

    Converters order inputs and outputs as they like; the names in the signature tell which is which.

    Raises:
        ConversionError: inputs or outputs are missing.
        EdgeError: the disk is full.
    """
    model = unpack(Path(job.model).read_bytes())
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    outputs = _ordered(signature.outputs, graph.outputs, len(job.outputs), "outputs")
    graph.inputs = _ordered(signature.inputs, graph.inputs, len(job.inputs), "inputs")
    graph.outputs = [outputs[index] for index in job.order]
    taken = {tensor.name for tensor in graph.tensors}
    names = [*job.inputs, *(job.outputs[index] for index in job.order)]
    for index, name in zip([*graph.inputs, *graph.outputs], names, strict=True):
        if name.encode() not in taken:
            graph.tensors[index].name = name.encode()
    model.metadata = [item for item in model.metadata or [] if item.name not in _STALE_METADATA]
    write_bytes(Path(job.target), pack(model))
    return Done()


def calibrate(job: Calibrate, events: Events) -> Done:
    """Measure the range of every activation: its smallest and largest value over all samples.

    The default of the library is a moving average, which depends on the order of the samples.

    Raises:
        EdgeError: the disk is full.
    """
    content = Path(job.model).read_bytes()
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(_plan(RECIPES["static-int8"]))
    meter = calibrator.Calibrator(content, num_threads=2, qsv_update_func=qsv_utils.min_max_update)
    (key, signature), *_ = meter.get_signature_list().items()
    samples = [open_array(Path(file)) for file in job.samples]
    count = len(samples[0])
    for start in range(0, count, _CHUNK):
        rows = range(start, min(start + _CHUNK, count))
        chunk = [dict(zip(signature["inputs"], _inputs(samples, row, job), strict=True)) for row in rows]
        meter.calibrate({key: chunk}, manager)
        events(Progress(rows.stop, count, "samples"))
    write_ranges(Path(job.target), meter.get_model_qsvs())
    return Done()


def quantise(job: Quantise) -> Done:
    """Write a quantised model.

    Raises:
        ConversionError: the model has something that the recipe cannot quantise.
        EdgeError: the disk is full.
    """
    content = Path(job.model).read_bytes()
    if job.recipe.weights not in ("float32", "stored"):
        ranges = read_ranges(Path(job.ranges)) if job.recipe.calibrates else None
        if ranges is not None:
            _fix_input_range(ranges, content, job.encoding)
        content = _quantised(content, job.recipe, ranges)
    model = unpack(content)
    if job.encoding is not None:
        _take_bytes(model, job.encoding)
    write_bytes(Path(job.target), pack(_with_versions(model, job.target)))
    return Done({name: version(name) for name in ("litert-quantizer", "ai-edge-litert")})


def write_ranges(target: Path, ranges: dict[str, Any]) -> None:
    """Write ranges by tensor name as ``.npz``: for tensor i the arrays ``i/min`` and ``i/max``, and all names."""
    arrays: dict[str, Any] = {"names": np.array(list(ranges), dtype=np.str_)}
    for index, found in enumerate(ranges.values()):
        arrays |= {f"{index}/{kind}": np.asarray(found[kind]) for kind in ("min", "max")}
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_bytes(target, content.getvalue())


def read_ranges(path: Path) -> dict[str, Any]:
    """Read what ``write_ranges`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return {
            str(name): {kind: arrays[f"{index}/{kind}"] for kind in ("min", "max")}
            for index, name in enumerate(arrays["names"])
        }


def _ordered(named: Any, present: Any, count: int, what: str) -> list[int]:
    ordered = [tensor.tensorIndex for tensor in sorted(named, key=lambda item: _natural(item.name))]
    if sorted(ordered) != sorted(present) or len(ordered) != count:
        raise ConversionError(
            f"expected {count} {what} in the exported model, got {len(ordered)} in its signature and "
            f"{len(present)} in its graph",
            hint="an output that is given out twice, or that is an input, cannot be converted",
        )
    return ordered


def _inputs(samples: list[Tensor], row: int, job: Calibrate) -> list[Tensor]:
    """Return one sample as the model takes it: (1, …) for each input."""
    if job.prep is not None:
        return [normalise(np.asarray(samples[0][row]), job.prep)[None]]
    return [np.asarray(array[row])[None] for array in samples]


def _natural(name: bytes) -> list[tuple[int, str]]:
    """Sort output_10 after output_9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name.decode())]


def _quantised(content: bytes, recipe: QuantRecipe, ranges: dict[str, Any] | None) -> bytes:
    tool = quantizer.Quantizer(content, _plan(recipe))
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
    info = parse_tflite(pack(model), where)
    for graph, known in zip(model.subgraphs, info.subgraphs, strict=True):
        for operator, facts in zip(graph.operators, known.operators, strict=True):
            code = model.operatorCodes[operator.opcodeIndex]
            code.version = max(code.version, needed_version(facts, known))
    return model
