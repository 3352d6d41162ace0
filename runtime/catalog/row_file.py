"""Rows of fixed width in a file that is mapped: read like an array, and memory that the system can take back."""

import mmap
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_GROWTH_BYTES = 4 << 20  # of the file, allocated at a time


class RowFile:
    """float32 [capacity, dimensions]. The file has no name: it goes with the process, however that ends.

    Space on the disk is allocated before rows are written, so that a full disk is an error of `reserve` and not a
    signal at a later access.
    """

    def __init__(self, folder: Path | None, capacity: int, dimensions: int) -> None:
        """folder: of the file; None takes the system's for temporary files."""
        self._row_bytes = 4 * dimensions
        self._size = max(capacity, 1) * self._row_bytes
        self._allocated = 0
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as this object
        os.ftruncate(self._file.fileno(), self._size)
        mapped = mmap.mmap(self._file.fileno(), self._size, access=mmap.ACCESS_READ)
        mapped.madvise(mmap.MADV_RANDOM)
        self._rows = np.frombuffer(mapped, np.float32).reshape(-1, dimensions)

    def reserve(self, rows: int) -> None:
        """Make sure that the first `rows` can be written. Raises OSError."""
        needed = rows * self._row_bytes
        if needed > self._allocated:
            stop = min(-(-needed // _GROWTH_BYTES) * _GROWTH_BYTES, self._size)
            os.posix_fallocate(self._file.fileno(), self._allocated, stop - self._allocated)
            self._allocated = stop

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        """Raises OSError."""
        self.reserve(row + 1)
        # By a write and not through the map: then the pages written are nobody's resident memory.
        written = os.pwrite(self._file.fileno(), vector.tobytes(), row * self._row_bytes)
        if written != self._row_bytes:
            raise OSError(f"{written} of {self._row_bytes} bytes of a vector were written")

    def read(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """A copy, float32 [k, dimensions]."""
        return self._rows[rows]
