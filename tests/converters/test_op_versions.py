import os
import subprocess
import sys
from pathlib import Path

import pytest

from converters.errors import ConversionError
from converters.op_versions import needed_version, require_versions
from converters.tflite_reader import OperatorInfo, SubgraphInfo, TensorInfo, parse_tflite, read_tflite
from tests.support.tiny_tflite import Net, Op, Tensor, build

ROOT = Path(__file__).parent.parent.parent


def needed(name, inputs, outputs):
    """Tensors are written as ``int8``, ``int8*4`` (four scales), ``int8@0.5`` (a scale) or ``-`` (absent)."""
    tensors = [_tensor(text) for text in (*inputs, *outputs)]
    split = len(inputs)
    present = tuple(-1 if text == "-" else index for index, text in enumerate(inputs))
    operator = OperatorInfo(name, 1, custom=False, inputs=present, outputs=tuple(range(split, len(tensors))))
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
        # int4 weights
        ("CONV_2D", ["int8@0.1", "int4*8", "int32"], ["int8@0.1"], 7),
        ("DEPTHWISE_CONV_2D", ["int8@0.1", "int4*8", "int32"], ["int8@0.1"], 7),
        ("FULLY_CONNECTED", ["int8@0.1", "int4*8", "int32"], ["int8@0.1"], 10),
        ("FULLY_CONNECTED", ["int16@0.1", "int4*8", "int64"], ["int16@0.1"], 13),
        ("DEQUANTIZE", ["int4*8"], ["float32"], 6),
        ("EMBEDDING_LOOKUP", ["int32", "int4@0.1"], ["float32"], 4),
        # int16 activations, int8 weights
        ("CONV_2D", ["int16@0.1", "int8*8", "int64"], ["int16@0.1"], 1),
        ("FULLY_CONNECTED", ["int16@0.1", "int8*8", "int64"], ["int16@0.1"], 1),
        ("ADD", ["int16@0.1", "int16@0.1"], ["int16@0.1"], 3),
        ("SUB", ["int16@0.1", "int16@0.1"], ["int16@0.1"], 5),
        ("MUL", ["int16@2", "int16@2"], ["int16@1"], 4),
        ("CONCATENATION", ["int16@0.1", "int16@0.1"], ["int16@0.1"], 3),
        ("MAXIMUM", ["int16@0.1", "int16@0.1"], ["int16@0.1"], 4),
        ("LEAKY_RELU", ["int16@0.1"], ["int16@0.1"], 2),
        ("SPLIT", ["int32", "int16@0.1"], ["int16@0.1"], 4),
        ("FILL", ["int32", "int16@0.1"], ["int16@0.1"], 3),
        ("DEQUANTIZE", ["int16@0.1"], ["float32"], 3),
        ("QUANTIZE", ["float32"], ["int16@0.1"], 2),
        ("QUANTIZE", ["int8*8"], ["int8@0.1"], 3),
        # recurrent layers: some of an LSTM's inputs may be absent
        ("LSTM", ["float32", "-", "int8@0.1"], ["float32"], 3),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", ["float32", "-", "int8@0.1"], ["float32"], 2),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", ["float32", "int8@0.1", "float32"], ["float32"], 1),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", ["int16@0.1", "-", "int8@0.1"], ["int16@0.1"], 5),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", ["int8@0.1", "-", "int8@0.1"], ["int8@0.1"], 1),
        ("BIDIRECTIONAL_SEQUENCE_LSTM", ["float32", "int8@0.1"], ["float32"], 2),
        ("RNN", ["float32", "int8@0.1"], ["float32"], 2),
        ("SVDF", ["float32", "int8@0.1"], ["float32"], 2),
        ("SVDF", ["int8@0.1", "int8@0.1"], ["int8@0.1"], 3),
        ("CAST", ["float16"], ["float32"], 5),
        ("CAST", ["int4@0.1"], ["float32"], 6),
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


@pytest.mark.slow
def test_types_tell_what_tensorflows_own_converter_states(tmp_path):
    command = [sys.executable, "-m", "tests.support.convert_with_tensorflow", tmp_path]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for recipe in ("float16", "dynamic", "int8"):
        info = read_tflite(tmp_path / f"{recipe}.tflite")
        # Half-pixel centres ask for version 3, whatever the types.
        operators = [operator for operator in info.main.operators if operator.name != "RESIZE_BILINEAR"]
        asked = [(operator.name, needed_version(operator, info.main)) for operator in operators]
        assert asked == [(operator.name, operator.version) for operator in operators]
