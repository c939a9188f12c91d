"""A PyTorch program: what it is, what it answers, and its export by litert-torch. Child process only."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from converters.backends.image_axes import TO_FIRST, TO_LAST, meets_spatial
from converters.backends.interface import Batch, ExportPlan, InputFacts, SourceFacts
from converters.backends.torch_file import SAVE_AGAIN
from converters.errors import ConversionError, spoilt_weights
from converters.tasks import Activation, OutputFacts
from device_runtime.errors import ModelError
from device_runtime.files import write_bytes

_DTYPES = {
    torch.float32: "float32",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.uint8: "uint8",
    torch.int8: "int8",
    torch.bool: "bool",
}
_MAX_BYTES = (1 << 31) - 1  # a FlatBuffer's end

_SPATIAL = frozenset(
    """
    _adaptive_avg_pool2d _native_batch_norm_legit_no_training adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d
    batch_norm conv2d conv_transpose2d convolution group_norm instance_norm max_pool2d max_pool2d_with_indices
    pixel_shuffle pixel_unshuffle upsample_bicubic2d upsample_bilinear2d upsample_nearest2d
    """.split()  # noqa: SIM905 - a name a line would be a page
)
"""ATen's operators that are defined for (n, channels, height, width)."""

_KEEPING = frozenset(
    """
    _to_copy abs add cat chunk clamp clip clone constant_pad_nd contiguous detach div dropout elu exp feature_dropout
    gelu getitem hardsigmoid hardswish hardtanh leaky_relu log_softmax mish mul neg pad pow prelu relu relu6 rsub
    sigmoid silu slice softmax softplus split split_with_sizes sqrt sub tanh to
    """.split()  # noqa: SIM905 - as above
)
"""ATen's operators that leave the order of axes as it is; those that write in place end in ``_``."""

_MOVING = frozenset(("clone", "contiguous", "dropout", "flatten", "permute", "reshape", "squeeze", "transpose", "view"))
_ACTIVATIONS = {
    "softmax": Activation.SOFTMAX,
    "sigmoid": Activation.SIGMOID,
    "linear": Activation.LINEAR,
    "addmm": Activation.LINEAR,
    "conv2d": Activation.LINEAR,
    "add": Activation.LINEAR,
    "matmul": Activation.LINEAR,
}


@dataclass(frozen=True)
class _Port:
    """An input or output as the program has it; ``image`` tells that it has channels first."""

    name: str
    shape: tuple[int | None, ...]
    dtype: torch.dtype
    image: bool
    activation: Activation = Activation.UNKNOWN


class TorchSource:
    """An exported program; see ``backends.interface.SourceModel``."""

    def __init__(self, where: str, program: Any) -> None:
        self._where = where
        self._program = program
        self._require_weights()
        self._nodes = {node.name: node for node in program.graph.nodes}
        signature = program.graph_signature
        self._inputs = tuple(self._input(name) for name in self._tensors(signature.user_inputs, "input"))
        self._outputs = tuple(self._output(name) for name in self._tensors(signature.user_outputs, "output"))
        self._require_flat()
        # Guards are code of the file; the plan's shapes are checked when the model is run.
        self._module = program.module(check_guards=False)

    def facts(self) -> SourceFacts:
        """Return inputs and outputs, images with channels last."""
        inputs = tuple(InputFacts(port.name, _last(port.shape, port), _DTYPES[port.dtype]) for port in self._inputs)
        outputs = tuple(
            OutputFacts(
                name,
                tuple(side or 1 for side in _last((1, *port.shape[1:]), port)),
                port.activation,
                whole="int" in str(port.dtype),
            )
            for name, port in zip(self._output_names(), self._outputs, strict=True)
        )
        tools = {name: importlib.metadata.version(name) for name in ("torch", "litert-torch")}
        return SourceFacts(inputs, outputs, tools=tools)

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return the program's answers; sample by sample, because many are exported for batch 1 only."""
        rows = [self._run_one([batch[index : index + 1] for batch in inputs]) for index in range(len(inputs[0]))]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write float32 TFLite with images channels last."""
        import litert_torch  # noqa: PLC0415 - 3 s, which a refused model does not take

        wrapped = _ChannelsLast(self._module, self._inputs, self._outputs, plan)
        examples = tuple(
            torch.zeros(shape, dtype=port.dtype) for shape, port in zip(plan.shapes, self._inputs, strict=True)
        )
        try:
            edge = litert_torch.convert(wrapped, examples)
        except Exception as error:  # litert-torch's, torch's, MLIR's
            raise self._unconvertible(error) from error
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            exported = Path(folder) / "exported.tflite"
            edge.export(str(exported))
            write_bytes(target, exported.read_bytes())

    def _run_one(self, inputs: Sequence[Batch]) -> list[Batch]:
        given = [
            torch.from_numpy(np.array(batch.transpose(TO_FIRST) if port.image else batch)).to(port.dtype)
            for port, batch in zip(self._inputs, inputs, strict=True)
        ]
        with torch.no_grad():
            outputs = pytree.tree_leaves(self._module(*given))
        return [
            np.asarray(value.permute(TO_LAST) if port.image else value, np.float32)
            for port, value in zip(self._outputs, outputs, strict=True)
        ]

    def _tensors(self, names: Sequence[Any], what: str) -> list[str]:
        """Return the names of a program's inputs or outputs, all of which must be tensors."""
        for name in names:
            node = self._nodes.get(name) if isinstance(name, str) else None
            if node is None or not isinstance(node.meta.get("val"), torch.Tensor):
                raise ModelError(
                    f"{self._where}: {what} {name!r} is no tensor",
                    hint="wrap the model in a module that takes and returns tensors only",
                )
        if not names:
            raise ModelError(f"{self._where}: the model has no {what}s", hint="export the trained model")
        return [str(name) for name in names]

    def _input(self, name: str) -> _Port:
        node = self._nodes[name]
        tensor = node.meta["val"]
        shape = tuple(side if isinstance(side, int) else None for side in tensor.shape)
        if tensor.dtype not in _DTYPES:
            raise ModelError(
                f"{self._where}: input {name} is {str(tensor.dtype).removeprefix('torch.')}; expected one of "
                f"{', '.join(_DTYPES.values())}",
                hint="export it in float32: model.float(), with example inputs of float32",
            )
        if not shape or shape[0] not in (1, None):
            told = "x".join(str(side) for side in shape) or "a single number"
            raise ModelError(
                f"{self._where}: input {name} is {told}; expected a first axis that is the batch, 1 or open",
                hint="export it with an example of batch 1; an LSTM with batch_first=True",
            )
        image = len(shape) == 4 and meets_spatial(node, _onward, _SPATIAL, _KEEPING)
        return _Port(name, shape, tensor.dtype, image)

    def _output(self, name: str) -> _Port:
        node = self._nodes[name]
        tensor = node.meta["val"]
        shape = tuple(side if isinstance(side, int) else None for side in tensor.shape)
        if not shape:
            raise ModelError(
                f"{self._where}: output {name} is a single number; expected a first axis that is the batch",
                hint="return value.reshape(1, 1) in its place",
            )
        image = len(shape) == 4 and meets_spatial(node, _backward, _SPATIAL, _KEEPING)
        return _Port(name, shape, tensor.dtype, image, _activation(node))

    def _output_names(self) -> list[str]:
        """Return the outputs' names: the keys of a dict, or of the operators that compute them."""
        names = [port.name for port in self._outputs]
        made = pytree.tree_unflatten(names, self._program.call_spec.out_spec)
        return list(made) if isinstance(made, dict) and list(made.values()) == names else names

    def _require_flat(self) -> None:
        arguments, named = pytree.tree_unflatten(list(range(len(self._inputs))), self._program.call_spec.in_spec)
        if named or list(arguments) != list(range(len(self._inputs))):
            raise ModelError(
                f"{self._where}: it takes named or nested inputs",
                hint="wrap the model in a module whose forward takes tensors, one after the other",
            )

    def _require_weights(self) -> None:
        size = 0
        for name, tensor in {**self._program.state_dict, **self._program.constants}.items():
            if not isinstance(tensor, torch.Tensor):
                raise ModelError(
                    f"{self._where}: {name} is {type(tensor).__name__}, no tensor",
                    hint=f"leave it out of the model, and save it again: {SAVE_AGAIN}",
                )
            size += tensor.numel() * tensor.element_size()
            # A mask of attention, which is no parameter, may hold minus infinity.
            parameter = name in self._program.graph_signature.parameters
            if tensor.is_floating_point() and (
                bool(tensor.isnan().any()) or (parameter and not bool(tensor.isfinite().all()))
            ):
                raise spoilt_weights(self._where, name)
        if size > _MAX_BYTES:
            raise ModelError(
                f"{self._where}: expected weights below 2 GB, got {size / 1e9:.1f} GB: a TFLite file cannot hold them",
                hint="export a smaller variant of the model",
            )

    def _unconvertible(self, error: Exception) -> ConversionError:
        text = str(error)
        if "Lowering not found: " in text:
            operator = text.partition("Lowering not found: ")[2].split()[0]
            return ConversionError(
                f"{self._where}: litert-torch has no counterpart of {operator}",
                hint="build that part of the model from other operators, or compute it after the model",
            )
        return ConversionError(f"{self._where}: litert-torch cannot convert it: {first_line(error)}")


class _ChannelsLast(torch.nn.Module):  # type: ignore[misc]  # torch is not followed: it may not be installed
    """A module around another, which has images with channels first; with ``plan.mean``, pixels are normalised."""

    def __init__(self, inner: Any, inputs: Sequence[_Port], outputs: Sequence[_Port], plan: ExportPlan) -> None:
        super().__init__()
        self._inner = inner
        self._first = [port.image for port in inputs]
        self._last = [port.image for port in outputs]
        self._normalise = None
        if plan.mean:
            channels = plan.shapes[0][3]
            layer = torch.nn.Conv2d(channels, channels, 1, groups=channels)
            mean, std = (torch.tensor(values).expand(channels) for values in (plan.mean, plan.std))
            with torch.no_grad():
                layer.weight.copy_((1 / std).reshape(channels, 1, 1, 1))
                layer.bias.copy_(-mean / std)
            self._normalise = layer
        # An exported module refuses eval(): it is what it was exported as.
        self.__dict__["training"] = False

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the inner module's outputs, flat."""
        given = list(inputs)
        if self._normalise is not None:
            pixels = self._normalise(given[0].permute(TO_FIRST))
            given[0] = pixels if self._first[0] else pixels.permute(TO_LAST)
        elif any(self._first):
            given = [
                tensor.permute(TO_FIRST) if first else tensor for tensor, first in zip(given, self._first, strict=True)
            ]
        outputs = pytree.tree_leaves(self._inner(*given))
        return tuple(
            tensor.permute(TO_LAST) if last else tensor for tensor, last in zip(outputs, self._last, strict=True)
        )


def first_line(error: BaseException) -> str:
    """Return an exception's kind and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _kind(node: Any) -> str:
    """Return ``conv2d`` for a call of ``aten.conv2d.default``; ``add`` for ``aten.add_.Tensor``."""
    if node.op != "call_function":
        return ""
    name = str(getattr(node.target, "__name__", node.target)).partition(".")[0]
    return name.removesuffix("_")


def _onward(node: Any) -> list[tuple[str, list[Any]]]:
    return [(_kind(user), [user]) for user in node.users]


def _backward(node: Any) -> list[tuple[str, list[Any]]]:
    return [(_kind(node), [given for given in node.all_input_nodes if given.op == "call_function"])]


def _activation(node: Any) -> Activation:
    """Tell the function that computes an output, looking through what only moves values."""
    while _kind(node) in _MOVING and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return _ACTIVATIONS.get(_kind(node), Activation.UNKNOWN)


def _last(shape: Sequence[Any], port: _Port) -> tuple[Any, ...]:
    return tuple(shape[axis] for axis in TO_LAST) if port.image else tuple(shape)
