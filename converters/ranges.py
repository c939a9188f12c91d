"""Measures the smallest and the largest value of every activation of a float model. Child process only.

All recipes use the same ranges: those of int8 and of int16, of whole and of mixed models. Minimum and maximum depend
neither on the order of the samples nor on how many interpreters share them, so that equal samples give equal files.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from converters.arrays import open_array
from converters.errors import ConversionError
from converters.jobs import Calibrate, Done
from converters.tflite_reader import TfliteInfo, parse_tflite
from device_runtime.contract.events import Events, Progress
from device_runtime.contract.model import ImagePrep
from device_runtime.files import write_bytes
from device_runtime.vision.frame import Tensor
from device_runtime.vision.normalise import normalise

Ranges = dict[str, dict[str, Any]]
"""By tensor name ``min`` and ``max``: of the shape (1, …, 1), or (1, …, channels) where channels were told apart."""

_INTERPRETERS = 2
_CHUNK = 8
_LARGEST = 3e38
"""What lies beyond is a stand-in for infinity (the padding of a pooling), not a value to make room for."""


def calibrate(job: Calibrate, events: Events) -> Done:
    """Run a float model on samples, and write the range of every activation.

    Raises:
        ConversionError: an activation is NaN, or has no finite value.
        EdgeError: the disk is full.
    """
    content = Path(job.model).read_bytes()
    samples = [open_array(Path(file)) for file in job.samples]
    meters = [_Meter(content) for _ in range(_INTERPRETERS)]
    count = len(samples[0])
    with ThreadPoolExecutor(_INTERPRETERS) as pool:
        for start in range(0, count, _CHUNK):
            rows = range(start, min(start + _CHUNK, count))
            shares = [[real_inputs(samples, row, job.prep) for row in rows[part::_INTERPRETERS]] for part in (0, 1)]
            for done in [pool.submit(meter.measure, share) for meter, share in zip(meters, shares, strict=True)]:
                done.result()
            events(Progress(rows.stop, count, "samples"))
    write_ranges(Path(job.target), _merged(meters))
    return Done()


def real_inputs(samples: Sequence[Tensor], row: int, prep: ImagePrep | None) -> list[Tensor]:
    """Return one sample as a float model takes it: (1, …) for each input, pictures normalised by ``prep``."""
    if prep is not None:
        return [normalise(np.asarray(samples[0][row]), prep)[None]]
    return [np.asarray(array[row])[None] for array in samples]


def write_ranges(target: Path, ranges: Ranges) -> None:
    """Write ranges by tensor name as ``.npz``: for tensor i the arrays ``i/min`` and ``i/max``, and all names."""
    arrays: dict[str, Any] = {"names": np.array(list(ranges), dtype=np.str_)}
    for index, found in enumerate(ranges.values()):
        arrays |= {f"{index}/{kind}": np.asarray(found[kind]) for kind in ("min", "max")}
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_bytes(target, content.getvalue())


def read_ranges(path: Path) -> Ranges:
    """Read what ``write_ranges`` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return {
            str(name): {kind: arrays[f"{index}/{kind}"] for kind in ("min", "max")}
            for index, name in enumerate(arrays["names"])
        }


def whole(ranges: Ranges) -> Ranges:
    """Return the same ranges with one value per tensor, as a quantiser takes them."""
    return {
        name: {
            "min": np.min(found["min"], keepdims=True, initial=np.inf).reshape((1,) * found["min"].ndim),
            "max": np.max(found["max"], keepdims=True, initial=-np.inf).reshape((1,) * found["max"].ndim),
        }
        for name, found in ranges.items()
    }


def watched(content: bytes) -> Any:
    """Return an interpreter that keeps every tensor."""
    with warnings.catch_warnings():
        # It says that this takes more memory: the activations of one sample, which is what is wanted.
        warnings.simplefilter("ignore", UserWarning)
        made = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    made.allocate_tensors()
    return made


class _Meter:
    """One interpreter and the ranges that it has seen."""

    def __init__(self, content: bytes) -> None:
        info = parse_tflite(content, "the float model")
        self._interpreter = watched(content)
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._tensors = _activations(info)
        self.low: dict[str, Tensor] = {}
        self.high: dict[str, Tensor] = {}

    def measure(self, share: list[list[Tensor]]) -> None:
        """Widen the ranges by samples, each a list of inputs."""
        for inputs in share:
            for index, value in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, value)
            self._interpreter.reset_all_variables()
            self._interpreter.invoke()
            for name, index in self._tensors.items():
                self._widen(name, index)

    def _widen(self, name: str, index: int) -> None:
        """Look at one tensor; no view of it may live on, or the interpreter refuses to run."""
        try:
            values = self._interpreter.tensor(index)()
        except ValueError:
            return  # the result of a loop has no memory of its own when nothing reads it
        low, high = _bounds(name, values)
        known = name in self.low
        self.low[name] = np.minimum(self.low[name], low) if known else low
        self.high[name] = np.maximum(self.high[name], high) if known else high


def _activations(info: TfliteInfo) -> dict[str, int]:
    """Return the float tensors of the main graph that are computed or given: name and index."""
    return {
        tensor.name: index
        for index, tensor in enumerate(info.main.tensors)
        if tensor.dtype == "float32" and not tensor.constant_bytes and 0 not in tensor.shape
    }


def _bounds(name: str, values: Tensor) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the smallest and the largest value for each channel: a pass over the rows is as fast as one over all."""
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(1, -1)
    low, high = rows.min(axis=0), rows.max(axis=0)
    if not (low.min() > -_LARGEST and high.max() < _LARGEST):
        if np.isnan(values).any():
            raise ConversionError(f"tensor {name} of the float model is NaN for a calibration sample")
        finite = rows[np.abs(rows) < _LARGEST]
        if not finite.size:
            raise ConversionError(f"tensor {name} of the float model is infinite for a calibration sample")
        low, high = (np.full(rows.shape[1], value, np.float32) for value in (finite.min(), finite.max()))
    shape = (*(1,) * (values.ndim - 1), -1) if values.ndim else ()
    return low.reshape(shape), high.reshape(shape)


def _merged(meters: Sequence[_Meter]) -> Ranges:
    used = [meter for meter in meters if meter.low]
    return {
        name: {
            "min": np.minimum.reduce([meter.low[name] for meter in used]),
            "max": np.maximum.reduce([meter.high[name] for meter in used]),
        }
        for name in used[0].low
    }
