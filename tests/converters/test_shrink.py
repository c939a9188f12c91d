"""Shrinking changes no output by a bit, on any engine."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import ConversionError
from converters.shrink import shrink
from converters.tflite_reader import parse_tflite
from converters.tflite_writer import pack, unpack
from device_runtime.engine.litert import open_engine
from tests.support.layered_tflite import layered, quantised
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier, image_metadata, with_zip

REAL_MODELS = [
    "coco_ssd_mobilenet_v1_quant",
    "deeplabv3_float",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "mobilenet_v2_1.0_224_quant",
    "movenet_single_pose_lightning_ptq",
]


def outputs(content, folder, engine):
    """What a model answers to the same noise, as it is stored."""
    path = folder / "model.tflite"
    path.write_bytes(content)
    loaded = open_engine(path, engine)
    random = np.random.default_rng(3)
    answers = []
    for _ in range(2):
        for index, tensor in enumerate(loaded.inputs):
            noise = random.integers(0, 256, tensor.shape)
            shifted = noise - 128 if tensor.dtype == "int8" else noise
            values = noise / 255 if tensor.dtype == "float32" else shifted
            loaded.input_view(index)[...] = values.astype(tensor.dtype)
        loaded.invoke()
        answers += [loaded.output(index).tobytes() for index in range(len(loaded.outputs))]
    return answers


@pytest.mark.parametrize("recipe", ["float32", "float16", "dynamic-int8", "static-int8"])
def test_a_quantised_model_gets_smaller_and_says_the_same_bit_by_bit(tmp_path, engine, recipe):
    content = quantised(layered(), recipe, tmp_path).read_bytes()
    small = shrink(content)
    assert len(small) < len(content)
    assert outputs(small, tmp_path, engine) == outputs(content, tmp_path, engine)


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL_MODELS)
def test_a_real_model_gets_smaller_and_says_the_same_bit_by_bit(shared_data, tmp_path, engine, name):
    content = (shared_data / "models" / f"{name}.tflite").read_bytes()
    small = shrink(content)
    assert len(small) < len(content)
    assert outputs(small, tmp_path, engine) == outputs(content, tmp_path, engine)


def test_inputs_outputs_and_signatures_keep_their_names_and_inner_tensors_lose_them():
    before, after = unpack(layered()), unpack(shrink(layered()))
    named = {tensor.name for tensor in after.subgraphs[0].tensors if tensor.name}
    assert named == {b"image", b"scores"}
    signatures = [
        [(item.name, item.tensorIndex) for item in (*model.signatureDefs[0].inputs, *model.signatureDefs[0].outputs)]
        for model in (before, after)
    ]
    assert signatures[0] == signatures[1]
    assert after.signatureDefs[0].signatureKey == b"serving_default"


def test_names_stay_in_a_file_that_others_are_compared_with():
    kept = parse_tflite(shrink(layered(), keep_names=True), "small").main
    assert [tensor.name for tensor in kept.tensors] == [t.name for t in parse_tflite(layered(), "float").main.tensors]


def test_what_nothing_refers_to_goes_and_indices_follow(tmp_path):
    tensors = [
        Tensor("unused", (1000,), values=np.ones(1000, np.float32)),
        Tensor("in", (1, 4)),
        Tensor("out", (1, 4)),
    ]
    content = build(Net(tensors, [Op("TANH", [1], [2])], inputs=[1], outputs=[2]))
    small = shrink(content)
    info = parse_tflite(small, "small")
    assert [tensor.name for tensor in info.main.tensors] == ["in", "out"]
    signature = unpack(small).signatureDefs[0]
    assert [item.tensorIndex for item in (*signature.inputs, *signature.outputs)] == [0, 1]
    assert len(small) < 1000
    assert outputs(small, tmp_path, "litert") == outputs(content, tmp_path, "litert")


def with_branches():
    """A model that calls one of two other graphs; all three have a tensor that nothing refers to."""
    outer = [
        Tensor("unused", (9,), values=np.ones(9, np.float32)),
        Tensor("choice", (1,), "uint8", values=np.ones(1, np.uint8)),
        Tensor("in", (1, 4)),
        Tensor("out", (1, 4)),
    ]
    options = schema.IfOptionsT()
    options.thenSubgraphIndex, options.elseSubgraphIndex = 1, 2
    choose = Op("IF", [1, 2], [3], options=(schema.BuiltinOptions.IfOptions, options))
    model = unpack(build(Net(outer, [choose], inputs=[2], outputs=[3])))
    model.subgraphs[0].tensors[1].type = schema.TensorType.BOOL
    for name in ("TANH", "LOGISTIC"):
        inner = [Tensor("unused", (9,), values=np.ones(9, np.float32)), Tensor("in", (1, 4)), Tensor("out", (1, 4))]
        other = unpack(build(Net(inner, [Op(name, [1], [2])], inputs=[1], outputs=[2])))
        (graph,) = other.subgraphs
        graph.operators[0].opcodeIndex += len(model.operatorCodes)
        for tensor in graph.tensors:
            tensor.buffer += len(model.buffers) if tensor.buffer else 0
        model.operatorCodes += other.operatorCodes
        model.buffers += other.buffers
        model.subgraphs.append(graph)
    return pack(model)


def test_graphs_inside_a_graph_are_shrunk_with_it(tmp_path, engine):
    content = with_branches()
    small = shrink(content)
    assert outputs(small, tmp_path, engine) == outputs(content, tmp_path, engine)
    assert [len(graph.tensors) for graph in parse_tflite(small, "small").subgraphs] == [3, 2, 2]


def test_equal_weights_and_equal_operator_codes_are_stored_once():
    weights = np.arange(2000, dtype=np.float32)
    tensors = [
        Tensor("in", (1, 2000)),
        Tensor("one", (1, 2000), values=weights),
        Tensor("two", (2000,), values=weights),
        Tensor("middle", (1, 2000)),
        Tensor("out", (1, 2000)),
    ]
    options = (schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
    content = build(Net(tensors, [Op("ADD", [0, 1], [3], options=options), Op("ADD", [3, 2], [4], options=options)]))
    model = unpack(shrink(content))
    assert len(model.operatorCodes) == 1
    assert sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None) == weights.nbytes


def test_equal_scales_are_stored_once():
    tensors = [
        Tensor("in", (1, 4)),
        Tensor("one", (1, 4)),
        Tensor("two", (1, 4)),
        Tensor("out", (1, 4)),
    ]
    model = unpack(build(Net(tensors, [Op("TANH", [index], [index + 1]) for index in range(3)])))
    for tensor in model.subgraphs[0].tensors:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.arange(1, 1001, dtype=np.float32)
        tensor.quantization.zeroPoint = np.zeros(1000, np.int64)
    assert len(pack(model)) < 2 * 12 * 1000


def test_a_constant_without_elements_stays_a_constant(tmp_path, engine):
    """The shape of a scalar has no elements; without values it would be an activation that nobody writes."""
    tensors = [Tensor("in", (1,)), Tensor("shape", (0,), "int32", values=np.zeros(0, np.int32)), Tensor("out", ())]
    options = (schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT())
    content = build(Net(tensors, [Op("RESHAPE", [0, 1], [2], options=options)]))
    assert outputs(shrink(content), tmp_path, engine) == outputs(content, tmp_path, engine)
    assert unpack(shrink(content)).subgraphs[0].tensors[1].buffer != 0


def test_metadata_that_engines_read_stay_and_those_of_another_file_go():
    model = unpack(with_zip(classifier(metadata=image_metadata([1.0], [1.0])), {"names.txt": "cat\n"}))
    for name in (b"min_runtime_version", b"reduced_precision_support"):
        item = schema.MetadataT()
        item.name, item.buffer = name, len(model.buffers)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(b"fp16", np.uint8)
        model.buffers.append(buffer)
        model.metadata.append(item)
    small = shrink(pack(model))
    assert parse_tflite(small, "small").metadata == {"reduced_precision_support": b"fp16"}
    assert b"names.txt" not in small


def test_values_behind_the_tables_come_back_into_them():
    content = classifier(size=(8, 8))
    model = unpack(content)
    largest = max(range(len(model.buffers)), key=lambda index: len(_data(model.buffers[index])))
    values = bytes(model.buffers[largest].data)
    model.buffers[largest].data = None
    model.buffers[largest].offset = model.buffers[largest].size = 1 << 20
    size = len(pack(model))
    model.buffers[largest].offset, model.buffers[largest].size = size, len(values)
    behind = pack(model) + values
    assert bytes(unpack(behind).buffers[largest].data) == values
    assert shrink(behind) == shrink(content)


def test_a_model_of_two_gigabytes_is_refused():
    """One byte that is repeated without taking memory."""
    model = unpack(classifier())
    model.buffers[1].data = np.broadcast_to(np.uint8(0), (1 << 31,))
    with pytest.raises(ConversionError, match=r"below 2 GB, got 2\.1 GB"):
        pack(model)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20))
def test_values_are_aligned_as_the_schema_says_and_come_back(contents):
    model = unpack(classifier())
    model.buffers = [schema.BufferT()]
    for content in contents:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        model.buffers.append(buffer)
    model.subgraphs[0].tensors = []
    packed = pack(model)
    assert [bytes(buffer.data) for buffer in unpack(packed).buffers[1:]] == contents
    root = schema.Model.GetRootAs(packed, 0)
    starts = [root.Buffers(index)._tab.Vector(4) for index in range(1, root.BuffersLength())]
    assert {start % 16 for start in starts} <= {0}


def test_shrinking_twice_changes_nothing_more():
    once = shrink(layered())
    assert shrink(once) == once


def _data(buffer):
    return b"" if buffer.data is None else bytes(buffer.data)
