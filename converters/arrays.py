"""Arrays on disk, written a row at a time and read through memory maps, so that memory stays bounded."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.lib.format as npy
import numpy.typing as npt

from device_runtime.files import refused
from device_runtime.vision.frame import Tensor


class ArrayWriter:
    """Writes a ``.npy`` file row by row, with plain writes: a full disk is an error, not a SIGBUS from a memory map.

    The header is written again at the end with the number of rows; NumPy pads it so that its length is the same.
    """

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.path = path
        self.rows = 0
        self._row_shape = row_shape
        self._dtype = np.dtype(dtype)
        try:
            self._stream = path.open("wb")
            self._stream.write(self._header())
        except OSError as error:
            raise refused(error, path, "write") from error

    def append(self, row: Tensor) -> None:
        """Write one row of the shape and dtype that were announced. Raises EdgeError when the disk refuses."""
        if row.shape != self._row_shape:
            raise ValueError(f"row {self.rows}: expected shape {self._row_shape}, got {row.shape}")
        try:
            self._stream.write(np.ascontiguousarray(row, self._dtype).tobytes())
        except OSError as error:
            raise refused(error, self.path, "write") from error
        self.rows += 1

    def close(self) -> None:
        """Write the number of rows and close the file. Raises EdgeError when the disk refuses."""
        try:
            self._stream.seek(0)
            self._stream.write(self._header())
            self._stream.close()
        except OSError as error:
            raise refused(error, self.path, "write") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def _abandon(self) -> None:
        try:
            self._stream.close()
        except OSError:
            return  # the error that is on its way says more

    def _header(self) -> bytes:
        header = io.BytesIO()
        fields = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.rows, *self._row_shape)}
        npy.write_array_header_1_0(header, fields)  # type: ignore[no-untyped-call]  # NumPy's own gap
        return header.getvalue()


def open_array(path: Path) -> Tensor:
    """Return an array that is read from disk where it is touched."""
    array: Tensor = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
