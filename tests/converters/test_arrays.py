import numpy as np
import pytest

from converters.arrays import ArrayWriter, open_array
from device_runtime.errors import EdgeError


@pytest.mark.parametrize("rows", [0, 1, 12345])
def test_rows_are_read_back_whatever_their_number(tmp_path, rows):
    path = tmp_path / "rows.npy"
    with ArrayWriter(path, (3,), np.int16) as writer:
        for index in range(rows):
            writer.append(np.array([index, 0, -index], np.int16))
    stored = open_array(path)
    assert (stored.shape, stored.dtype) == ((rows, 3), np.int16)
    assert rows == 0 or stored[-1].tolist() == [rows - 1, 0, 1 - rows]


def test_a_row_of_another_shape_is_refused(tmp_path):
    with (
        ArrayWriter(tmp_path / "rows.npy", (3,), np.int16) as writer,
        pytest.raises(ValueError, match="expected shape"),
    ):
        writer.append(np.zeros(4, np.int16))


def test_a_full_disk_is_an_error_and_no_crash(small_disk):
    row = np.zeros(100_000, np.uint8)

    def fill():
        with ArrayWriter(small_disk / "rows.npy", row.shape, row.dtype) as writer:
            for _ in range(20):
                writer.append(row)

    with pytest.raises(EdgeError, match="no space left"):
        fill()
