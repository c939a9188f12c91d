"""Measures which operators suffer from being quantised: each in turn, with all others in float. Child process only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from litert_quantizer import quantizer, recipe_manager
from litert_quantizer.utils import tfl_flatbuffer_utils

from converters.arrays import open_array
from converters.builtin_operators import BUILTIN_OPERATORS
from converters.interface import LayerError
from converters.jobs import MeasureSensitivity, Sensitivities
from converters.kept_float import kept_scopes, scope_of
from converters.parity.difference import Difference, Real
from converters.quantise import exactly, plan_of
from converters.ranges import Ranges, read_ranges, real_inputs, whole
from converters.recipe import QuantRecipe
from converters.tflite_reader import OperatorInfo, TfliteInfo, parse_tflite
from device_runtime.contract.events import Events, Progress
from device_runtime.vision.frame import Tensor

_THREADS = 2
_KEYS = {BUILTIN_OPERATORS[code]: key for key, code in tfl_flatbuffer_utils.TFL_OP_NAME_TO_CODE.items() if code >= 0}
"""litert-quantizer's own names of operators; its virtual ones for inputs and outputs have no code."""


def measure_sensitivity(job: MeasureSensitivity, events: Events) -> Sensitivities:
    """Quantise every operator that the recipe would quantise, alone, and compare the outputs with the float model's.

    The error of an operator is that of its weights, its inputs and its output. Errors of several operators add up only
    roughly: the order is a good guess of what to keep in float, not a proof (the sensitivity analysis of Wu et al.
    2020, arXiv 2004.09602, on partial quantisation).
    """
    content = Path(job.model).read_bytes()
    info = parse_tflite(content, "the float model")
    ranges = whole(read_ranges(Path(job.ranges))) if job.ranges else {}
    samples = [open_array(Path(file)) for file in job.samples]
    count = len(samples[0])
    rows = [real_inputs(samples, row, job.prep) for row in range(min(job.limit or count, count))]
    wanted = _answers(content, rows)
    operators = list(_quantisable(info, job.recipe))

    def measure(operator: OperatorInfo) -> LayerError:
        return _error(info, operator, wanted, _answers(_alone(content, operator, info, job.recipe, ranges), rows))

    found = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for error in pool.map(measure, operators):
            found.append(error)
            events(Progress(len(found), len(operators), "operators"))
    return Sensitivities(tuple(sorted(found, key=lambda error: error.snr_db)))


def _quantisable(info: TfliteInfo, recipe: QuantRecipe) -> Iterator[OperatorInfo]:
    """Yield the operators of the main graph that a recipe quantises."""
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(plan_of(recipe, kept_scopes(info, recipe.keep_float)))
    for operator in info.main.operators:
        key = None if operator.custom else _KEYS.get(operator.name)
        if key is not None:
            algorithm, _ = manager.get_quantization_configs(key, scope_of(operator, info.main))
            if algorithm != quantizer.AlgorithmName.NO_QUANTIZE:
                yield operator


def _alone(content: bytes, operator: OperatorInfo, info: TfliteInfo, recipe: QuantRecipe, ranges: Ranges) -> bytes:
    """Return the model with one operator quantised; its inputs and outputs are float."""
    inside = replace(recipe, keep_float=(), float_io=recipe.calibrates)
    plan = plan_of(inside, (), exactly(scope_of(operator, info.main)))
    result = quantizer.Quantizer(content, plan).quantize(
        ranges, enable_progress_bar=False, enable_progress_report=False
    )
    return bytes(result.quantized_model)


def _answers(content: bytes, rows: list[list[Tensor]]) -> list[list[Real]]:
    """Return the model's outputs for each row."""
    try:
        interpreter = _loaded(content, OpResolverType.BUILTIN)
    except RuntimeError:
        # XNNPACK refuses some layers when they are alone among floats; LiteRT's own kernels take them.
        interpreter = _loaded(content, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]
    found = []
    for row in rows:
        for index, value in zip(inputs, row, strict=True):
            interpreter.set_tensor(index, value)
        interpreter.reset_all_variables()
        interpreter.invoke()
        found.append([np.asarray(interpreter.get_tensor(index), np.float64) for index in outputs])
    return found


def _loaded(content: bytes, kernels: OpResolverType) -> Any:
    made = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    made.allocate_tensors()
    return made


def _error(info: TfliteInfo, operator: OperatorInfo, wanted: list[list[Real]], got: list[list[Real]]) -> LayerError:
    """Return how much the outputs suffer: those of the output that suffers most."""
    outputs = [Difference() for _ in info.outputs]
    for row, other in zip(wanted, got, strict=True):
        outputs = [known.plus(*pair) for known, *pair in zip(outputs, row, other, strict=True)]
    name = info.main.tensors[operator.outputs[0]].name
    return LayerError(name, operator.name, min(each.snr_db for each in outputs), min(each.cosine for each in outputs))
