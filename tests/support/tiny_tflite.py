"""Small TFLite files made from the schema, for tests that need no training framework."""

import io
import zipfile
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "uint8": schema.TensorType.UINT8,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
}


@dataclass
class Tensor:
    name: str
    shape: tuple
    dtype: str = "float32"
    scale: float = 0.0
    zero_point: int = 0
    values: np.ndarray | None = None
    signature: tuple | None = None


@dataclass
class Op:
    code: int | str
    inputs: list
    outputs: list
    version: int = 1
    options: tuple = (0, None)
    custom_options: bytes = b""


@dataclass
class Net:
    tensors: list
    ops: list
    inputs: list = field(default_factory=lambda: [0])
    outputs: list = field(default_factory=lambda: [-1])
    metadata: bytes = b""


def build(net: Net) -> bytes:
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(item, model.buffers) for item in net.tensors]
    count = len(net.tensors)
    graph.inputs = [index % count for index in net.inputs]
    graph.outputs = [index % count for index in net.outputs]
    graph.operators, model.operatorCodes = [], []
    for position, item in enumerate(net.ops):
        graph.operators.append(_operator(item, position))
        model.operatorCodes.append(_code(item))
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(graph)]
    if net.metadata:
        entry = schema.MetadataT()
        entry.name = b"TFLITE_METADATA"
        entry.buffer = len(model.buffers)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(net.metadata, np.uint8)
        model.buffers.append(buffer)
        model.metadata = [entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def classifier(
    *,
    dtype: str = "float32",
    scale: float = 0.0,
    zero_point: int = 0,
    size: tuple = (2, 2),
    channels: int = 3,
    classes: int = 3,
    last: str | None = "SOFTMAX",
    signature: tuple | None = None,
    metadata: bytes = b"",
) -> bytes:
    """A (1, H, W, C) input, reshaped, one dense layer, then ``last``. Only float32 inputs give a graph that runs."""
    flat = size[0] * size[1] * channels
    weights = np.linspace(-1, 1, flat * classes, dtype=np.float32).reshape(classes, flat)
    tensors = [
        Tensor("image", (1, *size, channels), dtype, scale, zero_point, signature=signature),
        Tensor("shape", (2,), "int32", values=np.array([1, flat], np.int32)),
        Tensor("flat", (1, flat)),
        Tensor("weights", weights.shape, values=weights),
        Tensor("bias", (classes,), values=np.zeros(classes, np.float32)),
        Tensor("dense", (1, classes)),
    ]
    ops = [Op("RESHAPE", [0, 1], [2]), Op("FULLY_CONNECTED", [2, 3, 4], [5], options=_dense())]
    if last is not None:
        tensors.append(Tensor("scores", (1, classes)))
        ops.append(Op(last, [5], [6], options=_softmax() if last == "SOFTMAX" else (0, None)))
    return build(Net(tensors, ops, metadata=metadata))


def with_zip(model: bytes, files: dict) -> bytes:
    """Append label files the way that TFLite's metadata writers do."""
    packed = io.BytesIO()
    packed.write(model)
    with zipfile.ZipFile(packed, "a") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def image_metadata(mean: list, std: list, *, label_file: str | None = None, output_count: int = 1) -> bytes:
    """TFLite metadata (M001) with a normalised RGB input and, at the last output, a label file."""
    builder = flatbuffers.Builder(256)
    normalisation = _table(builder, {0: _floats(builder, mean), 1: _floats(builder, std)})
    unit = _union(builder, 1, normalisation)
    colour = _byte_table(builder, 0, 1)
    content = _union(builder, 2, colour)
    image = _table(builder, {0: builder.CreateString("image"), 3: content, 4: _tables(builder, [unit])})
    outputs = []
    for index in range(output_count):
        fields = {0: builder.CreateString(f"out{index}")}
        if label_file and index == output_count - 1:
            name = builder.CreateString(label_file)
            builder.StartObject(5)
            builder.PrependUOffsetTRelativeSlot(0, name, 0)
            builder.PrependInt8Slot(2, 2, 0)
            fields[6] = _tables(builder, [builder.EndObject()])
        outputs.append(_table(builder, fields))
    graph = _table(builder, {2: _tables(builder, [image]), 3: _tables(builder, outputs)})
    model = _table(builder, {0: builder.CreateString("tiny"), 3: _tables(builder, [graph])})
    builder.Finish(model, b"M001")
    return bytes(builder.Output())


def _signature(graph):
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = b"serving_default", 0
    made.inputs = [_named(b"input", graph.inputs[0])]
    made.outputs = [_named(b"output_%d" % place, index) for place, index in enumerate(graph.outputs)]
    return made


def _named(name, index):
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, index
    return made


def _tensor(item, buffers):
    made = schema.TensorT()
    made.name, made.shape, made.type = item.name.encode(), list(item.shape), _TYPES[item.dtype]
    made.shapeSignature = None if item.signature is None else list(item.signature)
    made.buffer = 0
    if item.values is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(item.values.tobytes(), np.uint8)
        made.buffer = len(buffers)
        buffers.append(buffer)
    if item.scale:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [item.scale], [item.zero_point]
    return made


def _operator(item, position):
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = position, item.inputs, item.outputs
    made.builtinOptionsType, made.builtinOptions = item.options
    if item.custom_options:
        made.customOptions = np.frombuffer(item.custom_options, np.uint8)
    return made


def _code(item):
    made = schema.OperatorCodeT()
    made.version = item.version
    known = getattr(schema.BuiltinOperator, str(item.code), None)
    made.builtinCode = schema.BuiltinOperator.CUSTOM if known is None else known
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)
    made.customCode = item.code.encode() if known is None else None
    return made


def _dense():
    return schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()


def _softmax():
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return schema.BuiltinOptions.SoftmaxOptions, options


def _table(builder, offsets):
    builder.StartObject(max(offsets) + 1)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    return builder.EndObject()


def _union(builder, kind, offset):
    builder.StartObject(2)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, offset, 0)
    return builder.EndObject()


def _byte_table(builder, slot, value):
    builder.StartObject(slot + 1)
    builder.PrependInt8Slot(slot, value, 0)
    return builder.EndObject()


def _tables(builder, offsets):
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _floats(builder, values):
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()
