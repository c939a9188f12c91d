"""Which inputs and outputs of an ONNX graph are images with channels first. Child process only."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from converters.backends.image_axes import meets_spatial
from converters.tasks import Activation

_SPATIAL = frozenset(
    """
    AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalMaxPool GroupNormalization
    InstanceNormalization LRN LpPool MaxPool Resize SpaceToDepth Upsample
    """.split()  # noqa: SIM905 - a name a line would be a page
)
"""Operators that ONNX defines for (n, channels, height, width)."""

_KEEPING = frozenset(
    """
    Abs Add And Cast Ceil Clip Concat DequantizeLinear Div Dropout Elu Equal Erf Exp Floor Gelu HardSigmoid HardSwish
    Identity LeakyRelu Log LogSoftmax Max Mean Min Mish Mul Neg PRelu Pad Pow QuantizeLinear Reciprocal Relu Round Selu
    Sigmoid Sign Slice Softmax Softplus Softsign Split Sqrt Sub Sum Tanh ThresholdedRelu Where
    """.split()  # noqa: SIM905 - a name a line would be a page
)
"""Operators that leave the order of axes as it is."""

_MOVING = frozenset(
    ("Cast", "Concat", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
)
_LINEAR = frozenset(("Add", "Conv", "Gemm", "MatMul", "Mul", "Sub"))


class Layouts:
    """Looks through a graph from its inputs and its outputs."""

    def __init__(self, graph: Any) -> None:
        self._users: dict[str, list[Any]] = defaultdict(list)
        self._makers: dict[str, Any] = {}
        for node in graph.node:
            for name in node.input:
                self._users[name].append(node)
            for name in node.output:
                self._makers[name] = node
        self._constants = {tensor.name for tensor in graph.initializer}

    def input_is_image(self, name: str) -> bool:
        """Whether an input goes into a spatial operator, be it through others that keep the order of axes."""
        return meets_spatial(
            name, lambda tensor: [(node.op_type, node.output) for node in self._users[tensor]], _SPATIAL, _KEEPING
        )

    def output_is_image(self, name: str) -> bool:
        """Whether an output comes from a spatial operator, be it through others that keep the order of axes."""
        return meets_spatial(name, self._made_of, _SPATIAL, _KEEPING)

    def activation(self, name: str) -> Activation:
        """Tell the function that computes an output, looking through what only moves values."""
        node = self._makers.get(name)
        while node is not None and node.op_type in _MOVING:
            given = [x for x in node.input if x not in self._constants]
            node = self._makers.get(given[0]) if given else None
        kind = "" if node is None else node.op_type
        if kind in _LINEAR:
            return Activation.LINEAR
        return {"Softmax": Activation.SOFTMAX, "Sigmoid": Activation.SIGMOID}.get(kind, Activation.UNKNOWN)

    def _made_of(self, name: str) -> list[tuple[str, list[str]]]:
        node = self._makers.get(name)
        return [] if node is None else [(node.op_type, [x for x in node.input if x not in self._constants])]
