"""A loaded ONNX model: what it is, what ONNX Runtime makes of it, and its export by onnx2tf. Child process only."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx2tf
import onnxruntime
import onnxsim
from onnx import TensorProto, helper, numpy_helper

from converters.backends.channels_last import move_channels_last
from converters.backends.image_axes import TO_FIRST, TO_LAST
from converters.backends.interface import Batch, ExportPlan, InputFacts, SourceFacts, SourceModel
from converters.backends.matrix_products import make_fully_connected
from converters.backends.onnx_check import in_float32, require_finite, require_known
from converters.backends.onnx_file import MAX_BYTES
from converters.backends.onnx_layout import Layouts
from converters.backends.onnx_runs import run_apart
from converters.errors import ConversionError
from converters.tasks import OutputFacts
from converters.tflite_reader import read_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.errors import ModelError
from device_runtime.files import write_bytes

_DTYPES = ("float32", "int32", "int64", "uint8", "int8", "bool")
_QUIET = 3  # ONNX Runtime's severity "error"


@dataclass(frozen=True)
class _Port:
    """An input or output as the graph has it; ``image`` tells that it has channels first."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    image: bool


def load_source(path: Path) -> SourceModel:
    """Load an ONNX model.

    Raises:
        ModelError: it is damaged, too large, of an unknown operator set, has unknown operators, weights that are not
            finite or not there, or inputs that TFLite has no place for.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's own, without a common base
        apart = re.search(r"should be stored in (.+?), but", str(error))
        if apart is not None:
            raise ModelError(
                f"{path}: its weights are in another file, which is not there: {Path(apart[1]).name}",
                hint=f"put that file beside it, into {path.parent}",
            ) from error
        raise ModelError(f"{path}: not an ONNX model: {_first_line(error)}", hint="copy or export it again") from error
    if model.ByteSize() > MAX_BYTES:
        raise ModelError(
            f"{path}: expected a model below 2 GB, got {model.ByteSize() / 1e9:.1f} GB: a TFLite file cannot hold it",
            hint="export a smaller variant of the model",
        )
    require_known(model, path)
    require_finite(model, path)
    return OnnxSource(path, model)


class OnnxSource:
    """A loaded ONNX model; see ``backends.interface.SourceModel``."""

    def __init__(self, path: Path, model: Any) -> None:
        self._path = path
        self._model = model
        self._floats = in_float32(model)
        weights = {tensor.name for tensor in model.graph.initializer}
        own = [info for info in model.graph.input if info.name not in weights]
        # Old exporters list weights among the inputs, which keeps constants from being folded.
        del model.graph.input[:]
        model.graph.input.extend(own)
        layouts = Layouts(model.graph)
        self._inputs = tuple(_port(info, layouts.input_is_image) for info in own)
        self._require_inputs()
        self._activations = [layouts.activation(info.name) for info in model.graph.output]
        self._session = self._start()
        self._outputs = tuple(
            _Port(
                known.name,
                _sides(known.shape),
                _dtype(known.type),
                len(known.shape) == 4 and layouts.output_is_image(known.name),
            )
            for known in self._session.get_outputs()
        )

    def facts(self) -> SourceFacts:
        """Return inputs and outputs, images with channels last."""
        inputs = tuple(InputFacts(port.name, _last(port.shape, port), port.dtype) for port in self._inputs)
        outputs = tuple(
            OutputFacts(port.name, shape, activation, whole="int" in port.dtype)
            for port, shape, activation in zip(self._outputs, self._output_shapes(), self._activations, strict=True)
        )
        tools = {
            "onnx": onnx.__version__,
            "onnx2tf": onnx2tf.__version__,
            "onnxruntime": onnxruntime.__version__,
        }
        remarks = (
            (f"the model computes in {self._floats}; it is converted with the same weights in float32",)
            if self._floats
            else ()
        )
        return SourceFacts(inputs, outputs, tools=tools, remarks=remarks)

    def run(self, inputs: Sequence[Batch]) -> Sequence[Batch]:
        """Return ONNX Runtime's answers; sample by sample, because many a model is exported for batch 1 only."""
        rows = [self._run_one([batch[index : index + 1] for batch in inputs]) for index in range(len(inputs[0]))]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def export(self, target: Path, plan: ExportPlan) -> None:
        """Write float32 TFLite: onnx2tf's direct way, from a graph with all shapes fixed and images channels last.

        What it wrote is run, and held against the graph, at once: onnx2tf 2.6.9 drops some transpositions at outputs.
        Turned round in another way, they stay.
        """
        for apart in (False, True):
            graph = self._simplified(self._with_own_ports(plan, apart=apart))
            content = self._converted(graph, target.parent)
            model = unpack(content)
            changed = move_channels_last(model) + make_fully_connected(model)
            if changed and not run_apart(pack(model), graph):
                content = pack(model)
            difference = run_apart(content, graph)
            if not difference:
                write_bytes(target, content)
                return
        raise ConversionError(
            f"{self._path}: onnx2tf {onnx2tf.__version__} converts it wrongly: {difference}",
            hint="export it by another exporter, or as a program of torch.export: see docs/guides/sources.md",
        )

    def _converted(self, graph: Any, folder: Path) -> bytes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            source, exported = Path(name) / "graph.onnx", Path(name) / "graph_float32.tflite"
            onnx.save(graph, source)
            try:
                onnx2tf.convert(
                    input_onnx_file_path=str(source),
                    output_folder_path=name,
                    keep_shape_absolutely_input_names=[info.name for info in graph.graph.input],
                    not_use_onnxsim=True,  # done already, where its failures can be told
                    # TFLite's own recurrent operators keep their state from one sample to the next.
                    enable_rnn_unroll=True,
                    verbosity="error",
                )
            # It ends the process where it finds no way; SystemExit must not end this one.
            except (Exception, SystemExit) as error:
                raise ConversionError(
                    f"{self._path}: onnx2tf cannot convert it: {_first_line(error)}",
                    hint="simplify the part that it names, or leave it out of the model and compute it afterwards",
                ) from error
            self._require_builtin(exported)
            return exported.read_bytes()

    def _require_builtin(self, exported: Path) -> None:
        """Refuse what onnx2tf writes for operators that it does not know: custom ones, which nothing can run."""
        operators = [operator for graph in read_tflite(exported).subgraphs for operator in graph.operators]
        names = sorted({operator.name.removeprefix("ONNX_").title() for operator in operators if operator.custom})
        if names:
            raise ConversionError(
                f"{self._path}: TFLite has no counterpart of {', '.join(names)}",
                hint="leave that part out of the model, and compute it after the model",
            )

    def _require_inputs(self) -> None:
        if not self._inputs:
            raise ModelError(f"{self._path}: the model has no inputs", hint="export it with an example input")
        for port in self._inputs:
            if port.dtype not in _DTYPES:
                raise ModelError(
                    f"{self._path}: input {port.name} is {port.dtype}; expected one of {', '.join(_DTYPES)}",
                    hint="export the model with float32 inputs",
                )
            if not port.shape or port.shape[0] not in (1, None):
                shape = "x".join(str(side) for side in port.shape) or "a single number"
                raise ModelError(
                    f"{self._path}: input {port.name} is {shape}; expected a first axis that is the batch, 1 or open",
                    hint="export it with an example of batch 1; of an LSTM, with batch_first=True",
                )

    def _start(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _QUIET
        try:
            return onnxruntime.InferenceSession(
                self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions have no public base
            raise ModelError(
                f"{self._path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {_first_line(error)}",
                hint="export it again; see what is wrong: python -m onnx.checker model.onnx",
            ) from error

    def _run_one(self, inputs: Sequence[Batch]) -> list[Batch]:
        given = {
            port.name: np.ascontiguousarray(batch.transpose(TO_FIRST) if port.image else batch, port.dtype)
            for port, batch in zip(self._inputs, inputs, strict=True)
        }
        outputs = self._session.run(None, given)
        return [
            np.asarray(value.transpose(TO_LAST) if port.image else value, np.float32)
            for port, value in zip(self._outputs, outputs, strict=True)
        ]

    def _output_shapes(self) -> list[tuple[int, ...]]:
        """Return the outputs' shapes; where the inputs' are known, by running it, because many are not stated."""
        shapes = [(1, *port.shape[1:]) for port in self._inputs]
        if any(None in shape for shape in shapes):
            return [tuple(side or 1 for side in _last(port.shape, port)) for port in self._outputs]
        zeros = [np.zeros(_last(shape, port), port.dtype) for shape, port in zip(shapes, self._inputs, strict=True)]
        try:
            return [tuple(output.shape) for output in self._run_one(zeros)]
        except Exception as error:
            raise ModelError(
                f"{self._path}: ONNX Runtime cannot run it with batch 1: {_first_line(error)}",
                hint="export it with an example of batch 1",
            ) from error

    def _with_own_ports(self, plan: ExportPlan, *, apart: bool) -> Any:
        """Return the model with inputs ``input_0`` … of fixed shapes, outputs ``output_0`` …, images channels last.

        With ``apart``, outputs are turned round with their pixels in one row, where no optimiser sees an image.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        before, after, inputs, outputs = [], [], [], []
        for index, (port, shape) in enumerate(zip(self._inputs, plan.shapes, strict=True)):
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
            inputs.append(helper.make_tensor_value_info(f"input_{index}", kind, shape))
            before.append(_bridge(f"input_{index}", port.name, TO_FIRST if port.image else ()))
        if plan.mean:
            _normalise(graph, before, plan)
        for index, (port, info) in enumerate(zip(self._outputs, graph.output, strict=True)):
            kind = info.type.tensor_type.elem_type
            if port.image and apart:
                after += _turned_apart(graph, port, f"output_{index}")
            else:
                after.append(_bridge(port.name, f"output_{index}", TO_LAST if port.image else ()))
            sides = [f"output_{index}_{axis}" for axis in range(len(port.shape))]
            outputs.append(helper.make_tensor_value_info(f"output_{index}", kind, sides))
        nodes = [*before, *graph.node, *after]
        for field, new in ((graph.input, inputs), (graph.output, outputs), (graph.node, nodes), (graph.value_info, [])):
            kept = list(new)
            del field[:]
            field.extend(kept)
        return model

    def _simplified(self, model: Any) -> Any:
        """Fold what is constant now that shapes are fixed: what computes shapes would stay in the model otherwise."""
        try:
            simple, _ = onnxsim.simplify(model)
        except Exception as error:
            raise ConversionError(
                f"{self._path}: its graph cannot be simplified: {_first_line(error)}", hint="export it again"
            ) from error
        return simple


def _bridge(source: str, target: str, order: Sequence[int]) -> Any:
    if order:
        return helper.make_node("Transpose", [source], [target], perm=list(order))
    return helper.make_node("Identity", [source], [target])


def _turned_apart(graph: Any, port: _Port, target: str) -> list[Any]:
    """Return (n, c, h, w) → (n, c, h w) → (n, h w, c) → (n, h, w, c); the sides may be open until shapes are known."""
    row, shape, height, width, sides = (
        f"edgekit_{target}_{what}" for what in ("row", "shape", "height", "width", "sides")
    )
    constants = {row: [0, 0, -1], height: [2], width: [3], f"{target}_one": [1], f"{target}_last": [-1]}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), n) for n, v in constants.items())
    flat, turned = f"edgekit_{target}_flat", f"edgekit_{target}_turned"
    return [
        helper.make_node("Reshape", [port.name, row], [flat]),
        helper.make_node("Transpose", [flat], [turned], perm=[0, 2, 1]),
        helper.make_node("Shape", [port.name], [shape]),
        helper.make_node("Gather", [shape, height], [f"{height}_value"]),
        helper.make_node("Gather", [shape, width], [f"{width}_value"]),
        helper.make_node(
            "Concat",
            [f"{target}_one", f"{height}_value", f"{width}_value", f"{target}_last"],
            [sides],
            axis=0,
        ),
        helper.make_node("Reshape", [turned, sides], [target]),
    ]


def _normalise(graph: Any, before: list[Any], plan: ExportPlan) -> None:
    """Put ``(pixel - mean) / std`` behind the image input, as a depthwise 1 x 1 convolution (docs/adr/0004)."""
    channels = plan.shapes[0][3]
    mean, std = (np.broadcast_to(np.array(values, np.float32), (channels,)) for values in (plan.mean, plan.std))
    name = before[0].output[0]
    image = before[0].op_type == "Transpose"
    first = "edgekit_pixels"
    last = "edgekit_normalised"
    nodes = [_bridge("input_0", first, TO_FIRST)]
    weights = {"edgekit_scale": (1 / std).reshape(channels, 1, 1, 1), "edgekit_offset": -mean / std}
    graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in weights.items())
    nodes.append(helper.make_node("Conv", [first, *weights], [last], kernel_shape=[1, 1], group=channels))
    nodes.append(_bridge(last, name, () if image else TO_LAST))
    before[:] = nodes


def _port(info: Any, is_image: Any) -> _Port:
    kind = info.type.tensor_type
    sides = tuple(
        side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else None for side in kind.shape.dim
    )
    dtype = TensorProto.DataType.Name(kind.elem_type).lower()
    return _Port(info.name, sides, {"float": "float32"}.get(dtype, dtype), len(sides) == 4 and is_image(info.name))


def _sides(shape: Sequence[Any]) -> tuple[int | None, ...]:
    return tuple(side if isinstance(side, int) else None for side in shape)


def _dtype(kind: str) -> str:
    """Return ``float32`` for ONNX Runtime's ``tensor(float)``."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _last(shape: Sequence[Any], port: _Port) -> tuple[Any, ...]:
    return tuple(shape[axis] for axis in TO_LAST) if port.image else tuple(shape)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
