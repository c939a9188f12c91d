import pytest

from converters.errors import ConversionError
from converters.op_versions import needed_version, require_versions
from converters.tflite_reader import OperatorInfo, SubgraphInfo, TensorInfo, parse_tflite, read_tflite
from tests.support.tiny_tflite import Net, Op, Tensor, build


def needed(name, inputs, outputs):
    """The version for tensors written as ``int8``, ``int8*4`` (four scales) or ``int8@0.5`` (a scale)."""
    tensors = [_tensor(text) for text in (*inputs, *outputs)]
    split = len(inputs)
    operator = OperatorInfo(
        name, 1, custom=False, inputs=tuple(range(split)), outputs=tuple(range(split, len(tensors)))
    )
    graph = SubgraphInfo("main", tuple(tensors), (operator,), (0,), (split,))
    return needed_version(operator, graph)


def _tensor(text):
    dtype, _, channels = text.partition("*")
    dtype, _, scale = dtype.partition("@")
    scales = (0.1,) * int(channels) if channels else ((float(scale),) if scale else ())
    return TensorInfo("t", (1,), dtype, scales, (0,) * len(scales))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "version"),
    [
        ("CONV_2D", ["float32", "float32", "float32"], ["float32"], 1),
        ("CONV_2D", ["float32", "int8@0.1", "float32"], ["float32"], 2),
        ("CONV_2D", ["int8@0.1", "int8*8", "int32"], ["int8@0.1"], 3),
        ("CONV_2D", ["float32", "int8*8", "float32"], ["float32"], 5),
        ("DEPTHWISE_CONV_2D", ["int8@0.1", "int8*8", "int32"], ["int8@0.1"], 3),
        ("DEPTHWISE_CONV_2D", ["float32", "int8@0.1", "float32"], ["float32"], 4),
        ("DEPTHWISE_CONV_2D", ["float32", "int8*8", "float32"], ["float32"], 6),
        ("FULLY_CONNECTED", ["float32", "int8@0.1", "float32"], ["float32"], 3),
        ("FULLY_CONNECTED", ["int8@0.1", "int8*8", "int32"], ["int8@0.1"], 4),
        ("FULLY_CONNECTED", ["float32", "int8*8", "float32"], ["float32"], 12),
        ("DEQUANTIZE", ["uint8@0.1"], ["float32"], 1),
        ("DEQUANTIZE", ["int8@0.1"], ["float32"], 2),
        ("DEQUANTIZE", ["float16"], ["float32"], 3),
        ("DEQUANTIZE", ["int8*8"], ["float32"], 5),
        ("QUANTIZE", ["uint8@0.1"], ["int8@0.1"], 1),
        ("ADD", ["float32", "float32"], ["float32"], 1),
        ("ADD", ["int8@0.1", "int8@0.1"], ["int8@0.1"], 2),
        ("SOFTMAX", ["int8@0.1"], ["int8@0.1"], 2),
        ("MUL", ["int8@0.1", "int8@0.1"], ["int8@0.1"], 2),
        ("MUL", ["int8@2", "int8@2"], ["int8@1"], 3),
        ("SPLIT", ["int32", "int8@0.1"], ["int8@0.1"], 2),
        ("TILE", ["int8@0.1", "int32"], ["int8@0.1"], 3),
        ("RESHAPE", ["int8@0.1", "int32"], ["int8@0.1"], 1),
    ],
)
def test_the_types_of_its_tensors_tell_the_version(name, inputs, outputs, version):
    assert needed(name, inputs, outputs) == version


def test_a_version_that_is_too_low_is_refused_with_the_operator_and_both_versions():
    tensors = [Tensor("a", (1, 4), "int8", 0.1), Tensor("b", (1, 4), "int8", 0.1)]
    good, bad = (build(Net(tensors, [Op("LOGISTIC", [0], [1], version=version)])) for version in (2, 1))
    require_versions(parse_tflite(good, "x"), "x")
    with pytest.raises(ConversionError, match=r"LOGISTIC \(b\) states version 1, its types need 2"):
        require_versions(parse_tflite(bad, "x"), "x")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["movenet_single_pose_lightning_ptq", "deeplabv3_mnv2_dm05_pascal_quant"])
def test_no_more_is_asked_than_tensorflows_own_converter_states(shared_data, name):
    info = read_tflite(shared_data / "models" / f"{name}.tflite")
    asked = {(operator.name, needed_version(operator, info.main)) for operator in info.main.operators}
    stated = {operator.name: operator.version for operator in info.main.operators}
    assert {name for name, version in asked if version > stated[name]} == set()
