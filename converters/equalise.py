"""Evens out the ranges of channels across layers of a float model, which stays the same function. Child process only.

Cross-layer equalisation: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction",
arXiv 1906.04721, equations 5 to 11. A layer's output channel is multiplied, and the next layer's weights for it are
divided, by sqrt(r2 / r1), where r1 is the range of the channel and r2 that of the weights that read it. Factors are
powers of two, so that no float is rounded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from converters.ranges import Ranges
from converters.tflite_reader import parse_tflite
from converters.tflite_writer import kind_of, pack, unpack

Floats = npt.NDArray[np.float32]

_ROUNDS = 4
_LARGEST_POWER = 20
_WORTH = 4.0
"""Channels that differ less are left alone: at most two of eight bits are lost, and factors cost weights a little."""

_SAME = 1e-6
_TRIALS = 4
_SIX = 6.0

_Op = schema.BuiltinOperator
_Act = schema.ActivationFunctionType
_OUT_AXIS = {_Op.CONV_2D: 0, _Op.DEPTHWISE_CONV_2D: 3, _Op.FULLY_CONNECTED: 0}
_IN_AXIS = {_Op.CONV_2D: 3, _Op.DEPTHWISE_CONV_2D: 3, _Op.FULLY_CONNECTED: 1}
_BETWEEN = (
    _Op.RELU,
    _Op.RELU6,
    _Op.LEAKY_RELU,
    _Op.PRELU,
    _Op.MAX_POOL_2D,
    _Op.AVERAGE_POOL_2D,
    _Op.PAD,
    _Op.MEAN,
    _Op.RESHAPE,
)
"""Operators that pass a factor of a channel on, as far as they leave channels apart."""


@dataclass(frozen=True)
class _Pair:
    """Two operators and the tensors between them; ``six`` tells that values are cut off at 6 on the way."""

    first: Any
    second: Any
    tensors: tuple[int, ...]
    six: bool


def equalised(content: bytes, ranges: Ranges | None) -> tuple[bytes, Ranges | None, bool]:
    """Return a float model with the ranges of its channels evened out, and its ranges.

    Args:
        content: a tidy float model.
        ranges: of every activation and channel, as ``Calibrate`` measures them; None for a recipe that needs none: the
            ranges of weights are used then, as in the paper.

    Returns:
        The model, its ranges, and whether anything was changed. Nothing is when no two layers follow each other
        directly, or when outputs would change by more than 1e-6 of their largest value.
    """
    model = unpack(content)
    found = None if ranges is None else {name: dict(range_) for name, range_ in ranges.items()}
    graph = _Graph(model)
    pairs = list(graph.pairs())
    changed = False
    for _ in range(_ROUNDS):
        again = [graph.balance(pair, found) for pair in pairs]
        if not any(again):
            break
        changed = True
    if not changed:
        return content, ranges, False
    made = pack(model)
    if not _same(content, made, ranges):
        return content, ranges, False
    return made, found, True


class _Graph:
    """The main graph of a model that is being changed."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._readers: dict[int, list[Any]] = {}
        self._writers: dict[int, Any] = {}
        for operator in self._graph.operators:
            for index in operator.inputs:
                self._readers.setdefault(int(index), []).append(operator)
            self._writers |= {int(index): operator for index in operator.outputs}
        self._buffer_uses = np.bincount([tensor.buffer for graph in model.subgraphs for tensor in graph.tensors])

    def pairs(self) -> Iterator[_Pair]:
        """Yield the layers that follow each other with nothing between them that mixes or bends channels."""
        for operator in self._graph.operators:
            if kind_of(self._model, operator) in _OUT_AXIS and self._own_weights(operator):
                pair = self._follow(operator)
                if pair is not None:
                    yield pair

    def balance(self, pair: _Pair, ranges: Ranges | None) -> bool:
        """Even out one pair; return whether that changed anything."""
        first, second = self._values(pair.first.inputs[1]), self._values(pair.second.inputs[1])
        out_axis, in_axis = _OUT_AXIS[kind_of(self._model, pair.first)], _IN_AXIS[kind_of(self._model, pair.second)]
        r1 = _extent(first, out_axis) if ranges is None else self._measured(pair.tensors[0], ranges)
        factors = _factors(r1, _extent(second, in_axis))
        if pair.six:
            factors = self._below_six(pair, factors)
        if factors.max() <= _WORTH * factors.min():
            return False
        self._store(pair.first.inputs[1], first * _along(factors, first.ndim, out_axis))
        if len(pair.first.inputs) > 2 and pair.first.inputs[2] >= 0:
            self._store(pair.first.inputs[2], self._values(pair.first.inputs[2]) * factors)
        self._store(pair.second.inputs[1], second / _along(factors, second.ndim, in_axis))
        if ranges is not None:
            for index in pair.tensors:
                range_ = ranges[self._name(index)]
                range_ |= {kind: range_[kind] * factors for kind in ("min", "max")}
        return True

    def _follow(self, first: Any) -> _Pair | None:
        activation = first.builtinOptions.fusedActivationFunction
        if activation not in (_Act.NONE, _Act.RELU, _Act.RELU6):
            return None
        six = activation == _Act.RELU6
        channels = self._shape(first.outputs[0])[-1]
        tensors = []
        index = int(first.outputs[0])
        while True:
            tensors.append(index)
            readers = self._readers.get(index, [])
            if index in self._graph.outputs or len(readers) != 1:
                return None
            reader = readers[0]
            if kind_of(self._model, reader) in _IN_AXIS:
                fits = reader.inputs[0] == index and self._own_weights(reader) and self._reads(reader, channels)
                return _Pair(first, reader, tuple(tensors), six) if fits else None
            if (
                kind_of(self._model, reader) not in _BETWEEN
                or reader.inputs[0] != index
                or not self._apart(reader, channels)
            ):
                return None
            six = six or kind_of(self._model, reader) == _Op.RELU6
            index = int(reader.outputs[0])

    def _apart(self, operator: Any, channels: int) -> bool:
        """Tell whether an operator between two layers leaves each channel to itself."""
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", _Act.NONE)
        if fused not in (_Act.NONE, _Act.RELU) or self._shape(operator.outputs[0])[-1] != channels:
            return False
        if kind_of(self._model, operator) != _Op.MEAN:
            return True
        rank = len(self._shape(operator.inputs[0]))
        axes = self._data(operator.inputs[1])
        return axes is not None and all(int(axis) % rank != rank - 1 for axis in axes.view(np.int32))

    def _reads(self, operator: Any, channels: int) -> bool:
        """Tell whether a layer's weights have the channels on their axis: not so for groups, or after a flattening."""
        data = self._shape(operator.inputs[0])
        weights = self._shape(operator.inputs[1])
        return data[-1] == channels == weights[_IN_AXIS[kind_of(self._model, operator)]]

    def _below_six(self, pair: _Pair, factors: Floats) -> Floats:
        """Return factors that never make a value reach 6 that was below: 1 where that is not certain."""
        bound = self._bound(pair.first)
        if bound is None:
            return np.ones_like(factors)
        with np.errstate(divide="ignore"):
            room = np.exp2(np.floor(np.log2(_SIX / np.maximum(bound, 1e-30))))
        clipped: Floats = np.clip(factors / factors.min(), 1, np.maximum(room, 1)).astype(np.float32)
        return clipped

    def _bound(self, operator: Any) -> Floats | None:
        """Return what a layer's channels cannot exceed, when what it reads has been cut off at 6."""
        before = self._writers.get(int(operator.inputs[0]))
        if before is None:
            return None
        options = before.builtinOptions
        fused = getattr(options, "fusedActivationFunction", _Act.NONE)
        if kind_of(self._model, before) != _Op.RELU6 and fused != _Act.RELU6:
            return None
        weights = self._values(operator.inputs[1])
        axis = _OUT_AXIS[kind_of(self._model, operator)]
        others = tuple(other for other in range(weights.ndim) if other != axis)
        bound = _SIX * np.maximum(weights, 0).sum(axis=others, dtype=np.float64)
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            bound = bound + self._values(operator.inputs[2])
        return np.asarray(bound, np.float32)

    def _measured(self, index: int, ranges: Ranges) -> Floats:
        range_ = ranges[self._name(index)]
        extent: Floats = np.maximum(np.abs(range_["min"]), np.abs(range_["max"])).ravel()
        return extent

    def _own_weights(self, operator: Any) -> bool:
        """Tell whether an operator's weights are constant floats that nobody else reads."""
        index = int(operator.inputs[1])
        tensor = self._graph.tensors[index]
        alone = len(self._readers[index]) == 1 and self._buffer_uses[tensor.buffer] == 1
        return tensor.type == schema.TensorType.FLOAT32 and self._data(index) is not None and alone

    def _store(self, index: int, values: Floats) -> None:
        """Give a constant other values; those of a buffer that others share become a buffer of their own."""
        tensor = self._graph.tensors[index]
        if self._buffer_uses[tensor.buffer] > 1:
            self._buffer_uses[tensor.buffer] -= 1
            self._model.buffers.append(schema.BufferT())
            tensor.buffer = len(self._model.buffers) - 1
            self._buffer_uses = np.append(self._buffer_uses, 1)
        self._model.buffers[tensor.buffer].data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)

    def _values(self, index: int) -> Floats:
        values: Floats = self._data(index).view("<f4").reshape(self._shape(index))
        return values

    def _data(self, index: int) -> Any:
        data = self._model.buffers[self._graph.tensors[index].buffer].data
        return None if data is None else np.asarray(data, np.uint8)

    def _shape(self, index: int) -> tuple[int, ...]:
        shape = self._graph.tensors[index].shape
        return (0,) if shape is None or len(shape) == 0 else tuple(int(side) for side in shape)

    def _name(self, index: int) -> str:
        name: bytes = self._graph.tensors[index].name
        return name.decode()


def _factors(r1: Floats, r2: Floats) -> Floats:
    """Return sqrt(r2 / r1) as powers of two, their geometric mean about 1; 1 for a channel that is nothing."""
    live = (r1 > 0) & (r2 > 0)
    powers = np.zeros(len(r1))
    if live.any():
        powers[live] = 0.5 * np.log2(r2[live].astype(np.float64) / r1[live])
        powers[live] -= powers[live].mean()
    factors: Floats = np.exp2(np.clip(np.rint(powers), -_LARGEST_POWER, _LARGEST_POWER)).astype(np.float32)
    return factors


def _extent(weights: Floats, axis: int) -> Floats:
    """Return the largest magnitude along ``axis``."""
    extent: Floats = np.abs(weights).max(axis=tuple(other for other in range(weights.ndim) if other != axis))
    return extent


def _along(factors: Floats, rank: int, axis: int) -> Floats:
    return factors.reshape([-1 if other == axis else 1 for other in range(rank)])


def _same(before: bytes, after: bytes, ranges: Ranges | None) -> bool:
    """Tell whether two models answer the same on random inputs, drawn from the measured range where there is one."""
    generator = np.random.default_rng(0)
    info = parse_tflite(before, "the float model")
    for _ in range(_TRIALS):
        inputs = []
        for tensor in info.inputs:
            if tensor.dtype == "float32":
                known = (ranges or {}).get(tensor.name)
                low, high = (float(known["min"].min()), float(known["max"].max())) if known else (-1.0, 1.0)
                inputs.append(generator.uniform(low, high, tensor.shape).astype(np.float32))
            else:
                inputs.append(np.zeros(tensor.shape, tensor.dtype))
        for one, two in zip(_outputs(before, inputs), _outputs(after, inputs), strict=True):
            if one.dtype == np.float32 and float(np.abs(one - two).max(initial=0)) > _SAME * float(np.abs(one).max()):
                return False
    return True


def _outputs(content: bytes, inputs: list[Any]) -> list[Any]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
