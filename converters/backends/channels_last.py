"""Removes pairs of transpositions around operators that an exporter left with channels first. Child process only.

onnx2tf 2.6.9 leaves squeeze-and-excite behind an activation between two transpositions, each of which moves the whole
feature map; a MobileNetV3 has eight of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from converters.tflite_writer import kind_of

_OPERATORS = schema.BuiltinOperator
_TO_FIRST, _TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_UNARY = frozenset(
    (
        *(
            _OPERATORS.ABS,
            _OPERATORS.ELU,
            _OPERATORS.EXP,
            _OPERATORS.GELU,
            _OPERATORS.HARD_SWISH,
            _OPERATORS.LEAKY_RELU,
        ),
        *(
            _OPERATORS.LOG,
            _OPERATORS.LOGISTIC,
            _OPERATORS.NEG,
            _OPERATORS.RELU,
            _OPERATORS.RELU6,
            _OPERATORS.RELU_0_TO_1,
        ),
        *(_OPERATORS.RELU_N1_TO_1, _OPERATORS.RSQRT, _OPERATORS.SQRT, _OPERATORS.SQUARE, _OPERATORS.TANH),
    )
)
_BINARY = frozenset(
    (_OPERATORS.ADD, _OPERATORS.DIV, _OPERATORS.MAXIMUM, _OPERATORS.MINIMUM, _OPERATORS.MUL, _OPERATORS.SUB)
)


def move_channels_last(model: Any) -> int:
    """Rewrite a float model (``ModelT``) in place; return how many groups of operators were moved.

    A group is everything between transpositions to channels first and back. It is moved as a whole or not at all: when
    all in it is elementwise, a mean over height and width, or a reshape of a single pixel.
    """
    graph = model.subgraphs[0]
    moved, refused = 0, set()
    while True:
        entries = [op for op in graph.operators if _order(model, op) == _TO_FIRST and id(op) not in refused]
        if not entries:
            return moved
        group = _Group(model)
        if group.grow(entries[0]):
            group.move()
            moved += 1
        else:
            refused.add(id(entries[0]))


class _Group:
    """Tensors with channels first that depend on each other, and the operators between them."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._graph = model.subgraphs[0]
        self._tensors: set[int] = set()
        self._within: dict[int, Any] = {}
        self._removed: dict[int, Any] = {}
        self._made: dict[int, Any] = {}
        self._used: dict[int, list[Any]] = defaultdict(list)
        for op in self._graph.operators:
            for index in op.outputs:
                self._made[index] = op
            for index in op.inputs:
                self._used[index].append(op)

    def grow(self, entry: Any) -> bool:
        """Collect the group that begins at a transposition; tell whether all of it can be moved."""
        waiting = [entry.outputs[0]]
        while waiting:
            tensor = waiting.pop()
            if tensor in self._tensors:
                continue
            self._tensors.add(tensor)
            maker = self._made.get(tensor)
            if maker is None or len(self._shape(tensor)) != 4 or tensor in self._graph.outputs:
                return False
            for op in (maker, *self._used[tensor]):
                more = self._admit(op, tensor)
                if more is None:
                    return False
                waiting.extend(more)
        return any(_order(self._model, op) == _TO_LAST for op in self._removed.values())

    def move(self) -> None:
        """Give the group's tensors channels last, and take the transpositions away."""
        for op in self._within.values():
            self._rewrite(op)
        for index in self._tensors:
            tensor = self._graph.tensors[index]
            tensor.shape = np.array([tensor.shape[axis] for axis in _TO_LAST], np.int32)
            tensor.shapeSignature = None
        same: dict[int, int] = {}
        for op in self._removed.values():
            given, made = op.inputs[0], op.outputs[0]
            if _order(self._model, op) == _TO_LAST and made in self._graph.outputs and given not in same:
                same[given] = made  # the graph's output keeps its tensor
            else:
                same[made] = given
        self._graph.operators = [op for op in self._graph.operators if id(op) not in self._removed]
        for op in self._graph.operators:
            op.inputs = _replaced(op.inputs, same)
            op.outputs = _replaced(op.outputs, same)
        self._graph.outputs = _replaced(self._graph.outputs, same)
        for port in (port for signature in self._model.signatureDefs or [] for port in signature.outputs):
            port.tensorIndex = _replaced([port.tensorIndex], same)[0]

    def _admit(self, op: Any, tensor: int) -> list[int] | None:
        """Take an operator at a tensor into the group; return the tensors that come with it, None if it cannot be."""
        kind = kind_of(self._model, op)
        if kind == _OPERATORS.TRANSPOSE:
            fits = _order(self._model, op) == (_TO_FIRST if tensor in op.outputs else _TO_LAST)
            self._removed[id(op)] = op
            return [] if fits else None
        if kind == _OPERATORS.RESHAPE:  # a single pixel's channels lie the same way in either order
            self._within[id(op)] = op
            return [] if list(self._shape(tensor)[2:]) == [1, 1] else None
        if kind == _OPERATORS.MEAN:
            axes = constant_values(self._model, op.inputs[1])
            fits = axes is not None and sorted(axis % 4 for axis in np.ravel(axes)) == [2, 3]
            return self._whole(op, [op.inputs[0]]) if fits else None
        return self._whole(op, op.inputs) if kind in _UNARY or kind in _BINARY else None

    def _whole(self, op: Any, inputs: Iterable[int]) -> list[int] | None:
        """Take an operator with all that it reads and writes."""
        self._within[id(op)] = op
        more = []
        for index in inputs:
            values = constant_values(self._model, index)
            if values is None:
                more.append(index)
            elif values.size > 1 and len(self._shape(index)) != 4:
                return None
        outputs = [index for index in op.outputs if len(self._shape(index)) == 4]
        return [*more, *outputs]

    def _rewrite(self, op: Any) -> None:
        kind = kind_of(self._model, op)
        if kind == _OPERATORS.MEAN:
            op.inputs = [op.inputs[0], add_constant(self._model, np.array([1, 2], np.int32), op.inputs[1])]
        elif kind == _OPERATORS.RESHAPE and op.outputs[0] in self._tensors:
            shape = np.array([self._shape(op.outputs[0])[axis] for axis in _TO_LAST], np.int32)
            op.inputs = [op.inputs[0], add_constant(self._model, shape, op.inputs[1])]
            if op.builtinOptions is not None:
                op.builtinOptions.newShape = shape
        elif kind in _BINARY:
            op.inputs = [self._with_channels_last(index) for index in op.inputs]

    def _with_channels_last(self, index: int) -> int:
        values = constant_values(self._model, index)
        if values is None or values.size == 1:
            return index
        return add_constant(self._model, values.transpose(_TO_LAST), index)

    def _shape(self, index: int) -> Any:
        shape = self._graph.tensors[index].shape
        return [] if shape is None else list(shape)


def add_constant(model: Any, values: Any, like: int) -> int:
    """Add a tensor of constants, of the type and with the name of another; return its index."""
    values = np.ascontiguousarray(values)
    graph = model.subgraphs[0]
    old = graph.tensors[like]
    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    tensor.buffer, tensor.type, tensor.name = len(model.buffers) - 1, old.type, old.name
    tensor.shape = np.array(values.shape, np.int32)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _order(model: Any, op: Any) -> list[int]:
    """Return a transposition's order of axes; of anything else, nothing."""
    if kind_of(model, op) != _OPERATORS.TRANSPOSE:
        return []
    values = constant_values(model, op.inputs[1])
    return [] if values is None else [int(axis) for axis in values]


def constant_values(model: Any, index: int) -> Any:
    """Return a tensor's constant values, float32 or int32, in its shape; None when it has none."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    types = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32}
    if data is None or len(data) == 0 or tensor.type not in types:
        return None
    shape = [] if tensor.shape is None else list(tensor.shape)
    return np.frombuffer(bytes(data), types[tensor.type]).reshape(shape)


def _replaced(indices: Any, same: dict[int, int]) -> list[int]:
    replaced = []
    for index in indices:
        found = int(index)
        while found in same:
            found = same[found]
        replaced.append(found)
    return replaced
