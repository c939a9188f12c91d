import pytest

from converters.labels import parse_labels, read_labels
from device_runtime.errors import BadFileError


def test_one_label_per_line_in_order():
    assert parse_labels("cat\n dog \nbird\n\n", "x") == ("cat", "dog", "bird")


def test_numbers_in_front_are_dropped_and_gaps_are_kept():
    assert parse_labels("0 person\n1: bicycle\n3, car\n", "x") == ("person", "bicycle", "", "car")


def test_names_that_merely_begin_with_a_number_stay_whole():
    assert parse_labels("7 up\ncola\n", "x") == ("7 up", "cola")
    assert parse_labels("2 euros\n5 euros\n", "x") == ("2 euros", "5 euros")


@pytest.mark.parametrize(("content", "says"), [(b"", "empty file"), (b"\n \n", "empty file"), (b"caf\xe9", "UTF-8")])
def test_a_file_without_labels_is_an_error(tmp_path, content, says):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=says):
        read_labels(path)


def test_a_byte_order_mark_is_no_part_of_the_first_label(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffcat\r\ndog\r\n".encode())
    assert read_labels(path) == ("cat", "dog")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(BadFileError, match="no such label file"):
        read_labels(tmp_path / "absent.txt")
