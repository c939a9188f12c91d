"""Runs an ONNX graph and what was made of it side by side. Child process only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

_TOLERANCE = 1e-3
"""Of the largest value. Float kernels differ by 1e-6; axes in the wrong order by as much as the values themselves."""

_SAMPLES = 2
"""The second tells what remembers the first."""


def run_apart(content: bytes, graph: Any) -> str:
    """Run a TFLite model and the graph that it was made of on the same random inputs, twice.

    Args:
        content: the TFLite model, whose signature has the names of the graph's inputs and outputs.
        graph: a ``ModelProto`` with fixed shapes.

    Returns:
        What differs, in words; empty when nothing does.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        runner = Interpreter(model_content=content).get_signature_runner()
        return _compare(session, runner)
    except (RuntimeError, ValueError) as error:  # the interpreter's words for a file that it cannot take or run
        return f"it cannot be run: {' '.join(str(error).split())[:200]}"


def _compare(session: Any, runner: Any) -> str:
    generator = np.random.default_rng(0)
    dtypes = {name: detail["dtype"] for name, detail in runner.get_input_details().items()}
    names = [item.name for item in session.get_outputs()]
    for _ in range(_SAMPLES):
        inputs = {
            item.name: generator.uniform(0, 2, item.shape).astype(dtypes[item.name]) for item in session.get_inputs()
        }
        got = runner(**inputs)
        for name, wanted in zip(names, session.run(None, inputs), strict=True):
            difference = _difference(wanted, got[name])
            if difference:
                return f"{name} {difference}"
    return ""


def _difference(wanted: Any, got: Any) -> str:
    if wanted.shape != got.shape:
        return f"is {'x'.join(map(str, got.shape))}, expected {'x'.join(map(str, wanted.shape))}"
    largest = float(np.max(np.abs(wanted), initial=1.0, where=np.isfinite(wanted)))
    if np.allclose(wanted, got, rtol=0, atol=_TOLERANCE * largest, equal_nan=True):
        return ""
    return f"differs by {float(np.nanmax(np.abs(wanted - got))):.3g} of {largest:.3g}"
