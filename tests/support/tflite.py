"""Small ``.tflite`` files made operator by operator, so that tests of the runtime need no framework."""

from dataclasses import dataclass, field
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from device_runtime.contract.decode import dumps
from device_runtime.contract.model import (
    ImagePrep,
    ModelSpec,
    Resize,
    TaskSpec,
    TensorSpec,
)

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
}


@dataclass
class ModelMaker:
    """Collects tensors and operators, then writes the file."""

    tensors: list = field(default_factory=list)
    buffers: list = field(default_factory=lambda: [schema.BufferT()])
    operators: list = field(default_factory=list)
    codes: list = field(default_factory=list)

    def tensor(self, name, shape, dtype, scale=0.0, zero_point=0, data=None):
        """Add a tensor, a constant one when ``data`` is given; return its index."""
        made = schema.TensorT()
        made.name = name.encode()
        made.shape = np.array(shape, np.int32)
        made.type = _TYPES[dtype]
        if scale:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.array([scale], np.float32)
            made.quantization.zeroPoint = np.array([zero_point], np.int64)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, dtype).tobytes(), np.uint8)
            self.buffers.append(buffer)
            made.buffer = len(self.buffers) - 1
        else:
            made.buffer = 0
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, code, inputs, outputs, options=None, *, version=1, custom=None):
        """Add an operator by its builtin code, or a custom one by its name."""
        opcode = schema.OperatorCodeT()
        opcode.builtinCode = code
        opcode.deprecatedBuiltinCode = min(code, 127)
        opcode.version = version
        opcode.customCode = custom
        self.codes.append(opcode)
        made = schema.OperatorT()
        made.opcodeIndex = len(self.codes) - 1
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array(outputs, np.int32)
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            made.builtinOptions = options
        self.operators.append(made)

    def write(self, path: Path, inputs, outputs):
        """Write the model with these input and output tensors."""
        graph = schema.SubGraphT()
        graph.tensors = self.tensors
        graph.inputs = np.array(inputs, np.int32)
        graph.outputs = np.array(outputs, np.int32)
        graph.operators = self.operators
        model = schema.ModelT()
        model.version = 3
        model.operatorCodes = self.codes
        model.subgraphs = [graph]
        model.buffers = self.buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def brightness_model(path: Path, size: int = 8, labels=("dark", "red", "green", "blue")):
    """Write a float classifier whose answer can be computed by hand: the mean of each channel picks the class.

    Input (1, size, size, 3) float32 in 0–1; logits: a constant 0.25 for ``dark``, and each channel's mean. Returns its
    ModelSpec, which is written beside it.
    """
    maker = ModelMaker()
    image = maker.tensor("image", [1, size, size, 3], "float32")
    axes = maker.tensor("axes", [2], "int32", data=[1, 2])
    means = maker.tensor("means", [1, 3], "float32")
    reducer = schema.ReducerOptionsT()
    reducer.keepDims = False
    maker.operator(schema.BuiltinOperator.MEAN, [image, axes], [means], reducer)
    weights = maker.tensor("weights", [4, 3], "float32", data=[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    bias = maker.tensor("bias", [4], "float32", data=[0.25, 0, 0, 0])
    logits = maker.tensor("logits", [1, 4], "float32")
    dense = schema.FullyConnectedOptionsT()
    maker.operator(schema.BuiltinOperator.FULLY_CONNECTED, [means, weights, bias], [logits], dense)
    maker.write(path, [image], [logits])
    spec = ModelSpec(
        path.stem,
        TaskSpec("classification", "logits"),
        ImagePrep(size, size, mean=(0.0,), std=(255.0,)),
        (TensorSpec("image", (1, size, size, 3), "float32"),),
        (TensorSpec("logits", (1, 4), "float32"),),
        tuple(labels),
    )
    path.with_suffix(".json").write_text(dumps(spec))
    return spec


def constant_model(path: Path, outputs, size=(8, 8), dtype="uint8", scale=1 / 255, zero_point=0):
    """Write a model that answers the same whatever it sees.

    ``outputs`` are (name, array, scale, zero_point) tuples; the input is (1, height, width, 3).
    Returns (input spec, output specs).
    """
    width, height = size
    maker = ModelMaker()
    image = maker.tensor("image", [1, height, width, 3], dtype, 0.0 if dtype == "float32" else scale, zero_point)
    made, specs = [], []
    for name, array, out_scale, out_zero in outputs:
        stored = np.asarray(array)
        answer = maker.tensor(f"{name}-answer", stored.shape, stored.dtype.name, out_scale, out_zero, data=stored)
        result = maker.tensor(name, stored.shape, stored.dtype.name, out_scale, out_zero)
        shape = maker.tensor(f"{name}-shape", [stored.ndim], "int32", data=stored.shape)
        maker.operator(schema.BuiltinOperator.RESHAPE, [answer, shape], [result], schema.ReshapeOptionsT())
        made.append(result)
        specs.append(TensorSpec(name, stored.shape, stored.dtype.name, out_scale, out_zero))
    maker.write(path, [image], made)
    in_scale = 0.0 if dtype == "float32" else scale
    return TensorSpec("image", (1, height, width, 3), dtype, in_scale, zero_point), tuple(specs)


def detector_model(path: Path, boxes, scores, labels=(), size=(64, 48), **task):
    """Write a detector that always answers ``boxes`` (n, 4) fractions x1 y1 x2 y2 and ``scores`` (n, classes)."""
    boxes = np.asarray(boxes, np.float32)[None]
    scores = np.asarray(scores, np.float32)[None]
    image, outputs = constant_model(path, [("boxes", boxes, 0.0, 0), ("scores", scores, 0.0, 0)], size)
    spec = ModelSpec(
        path.stem,
        TaskSpec("detection", "boxes-scores", **({"score_threshold": 0.5, "max_items": 100} | task)),
        ImagePrep(size[0], size[1], resize=Resize.STRETCH, mean=(0.0,), std=(255.0,)),
        (image,),
        outputs,
        tuple(labels),
    )
    path.with_suffix(".json").write_text(dumps(spec))
    return spec
