"""ONNX files as they look before anything can read them."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.backends.onnx_file import check_file
from device_runtime.errors import BadFileError, ModelError

IR_VERSION = b"\x08\x08"
PRODUCER = b"\x12\x04test"
GRAPH = b"\x3a\x81\x01" + b"\x00" * 129
OPSETS = b"\x42\x02\x10\x11"
WHOLE = IR_VERSION + PRODUCER + GRAPH + OPSETS


@pytest.fixture
def check(tmp_path):
    def write(content):
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        check_file(path)

    return write


@pytest.mark.parametrize("content", [WHOLE, OPSETS + GRAPH])
def test_a_whole_file_passes_whatever_the_order_of_its_fields(check, content):
    check(content)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_was_cut_off_is_refused(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("cut") / "model.onnx"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(ModelError):
        check_file(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it has no graph"),
        (IR_VERSION + OPSETS, "it has no graph"),
        (IR_VERSION + GRAPH, "it has no operator set"),
        (b"TFL3 is another format", "unknown field"),
        (b"\x89HDF\r\n\x1a\n", "unknown field"),
        (b"\x08" + b"\xff" * 11, "a number without an end"),
        (b"\x0b", "unknown wire type 3"),
        (WHOLE[:-1], "expected 144 bytes or more, got 143"),
    ],
)
def test_what_is_no_model_is_told_why(check, content, said):
    with pytest.raises(ModelError) as caught:
        check(content)
    assert said in str(caught.value)
    assert caught.value.hint == "copy or export it again"


def test_a_file_of_more_than_2_gb_is_refused_by_its_size(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), 3_000_000_000)  # a hole: it takes no disk
    with pytest.raises(ModelError, match=r"expected a model below 2 GB, got 3\.0 GB"):
        check_file(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadFileError, match="no such file"):
        check_file(tmp_path / "none.onnx")
