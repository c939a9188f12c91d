import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.builtin_operators import BUILTIN_OPERATORS
from converters.metadata import read_metadata
from converters.tflite_reader import parse_tflite, read_tflite
from device_runtime.errors import ModelError
from tests.support.tiny_tflite import Net, Op, Tensor, build, classifier, image_metadata

MODEL = classifier(dtype="uint8", scale=0.0078125, zero_point=128, metadata=image_metadata([127.5], [127.5]))


def test_operator_names_are_those_of_the_schema():
    codes = {name: code for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    assert {name: code for code, name in enumerate(BUILTIN_OPERATORS)} == codes


def test_tensors_operators_and_sizes_are_read():
    info = parse_tflite(MODEL, "tiny")
    assert info.size_bytes == len(MODEL)
    (image,) = info.inputs
    assert (image.name, image.shape, image.dtype) == ("image", (1, 2, 2, 3), "uint8")
    assert (image.scales, image.zero_points) == ((0.0078125,), (128,))
    (scores,) = info.outputs
    assert (scores.name, scores.shape, scores.dtype, scores.scales) == ("scores", (1, 3), "float32", ())
    weights = next(tensor for tensor in info.main.tensors if tensor.name == "weights")
    assert weights.constant_bytes == 12 * 3 * 4
    assert info.operator_counts == {("FULLY_CONNECTED", 1): 1, ("RESHAPE", 1): 1, ("SOFTMAX", 1): 1}


def test_a_custom_operator_is_named():
    tensors = [Tensor("image", (1, 2, 2, 3)), Tensor("out", (1, 3))]
    info = parse_tflite(build(Net(tensors, [Op("MyMagic", [0], [1], version=7, custom_options=b"\1\2")])), "tiny")
    assert info.custom_operators == ("MyMagic",)
    assert (info.main.operators[0].version, info.main.operators[0].custom_options) == (7, b"\1\2")


def test_a_missing_file_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        read_tflite(tmp_path / "absent.tflite")


@pytest.mark.parametrize("content", [b"", b"PK\3\4 a zip of some kind", b"\0" * 8])
def test_an_empty_or_foreign_file_is_a_model_error_that_says_what_was_expected(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="expected a TFLite model"):
        read_tflite(path)


@given(st.integers(8, len(MODEL) - 1))
def test_a_truncated_model_is_read_or_refused(length):
    _read_or_refuse(MODEL[:length])


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_bytes_are_read_or_refused(changes):
    data = bytearray(MODEL)
    for position, value in changes:
        data[position] = value
    data[4:8] = b"TFL3"
    _read_or_refuse(bytes(data))


@given(st.binary(max_size=400))
def test_garbage_with_the_right_mark_is_read_or_refused(rest):
    _read_or_refuse(rest[:4].ljust(4, b"\0") + b"TFL3" + rest[4:])


def _read_or_refuse(data):
    try:
        info = parse_tflite(data, "fuzz")
        read_metadata(info, "fuzz")
    except ModelError as error:
        assert str(error).startswith("fuzz: ")  # noqa: PT017 - both outcomes are right
