"""Arrays by row, in memory or in mapped files: those are memory that the system can take back."""

import errno
import mmap
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_GROWTH_BYTES = 4 << 20  # of the file, allocated at a time


class MemoryArray:
    """`rows`: an array [capacity, …] of zeros. The system allocates memory as rows are first written."""

    def __init__(self, capacity: int, width: tuple[int, ...], dtype: DTypeLike) -> None:
        self.rows: NDArray[Any] = np.zeros((capacity, *width), dtype)

    def reserve(self, rows: int) -> None:
        """As of a MappedArray."""


class MappedArray:
    """`rows`: an array [capacity, …] of zeros in a file without a name, which goes with the process, however that ends.

    Space on the disk is allocated before rows are written, so that a full disk is an error of `reserve` and not a
    signal at a later access: call it before writing to `rows`.
    """

    def __init__(self, folder: Path | None, capacity: int, width: tuple[int, ...], dtype: DTypeLike) -> None:
        """folder: of the file; None takes the system's for temporary files. width: shape of a row. Raises OSError."""
        self._row_bytes = int(np.prod(width, dtype=np.int64)) * np.dtype(dtype).itemsize
        self._size = max(capacity, 1) * self._row_bytes
        self._allocated = 0
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as this object
        os.ftruncate(self._file.fileno(), self._size)
        self._map = mmap.mmap(self._file.fileno(), self._size)
        self.rows: NDArray[Any] = np.frombuffer(self._map, dtype).reshape(-1, *width)

    def reserve(self, rows: int) -> None:
        """Make sure that the first `rows` can be written. Raises OSError."""
        needed = rows * self._row_bytes
        if needed > self._allocated:
            stop = min(-(-needed // _GROWTH_BYTES) * _GROWTH_BYTES, self._size)
            if stop < needed:
                raise OSError(errno.EFBIG, f"{rows} rows are more than the file is for")
            os.posix_fallocate(self._file.fileno(), self._allocated, stop - self._allocated)
            self._allocated = stop

    def write(self, row: int, values: NDArray[Any]) -> None:
        """Set one row by a write and not through the map: then its pages are nobody's resident memory. Raises
        OSError."""
        self.reserve(row + 1)
        data = values.tobytes()
        if os.pwrite(self._file.fileno(), data, row * self._row_bytes) != len(data):
            raise OSError(errno.EIO, f"not all of the {len(data)} bytes of a row were written")

    def expect(self, rows: NDArray[np.intp]) -> None:
        """Start to read these rows from the disk, so that what is not in memory comes at once instead of page by
        page."""
        start = rows * self._row_bytes // mmap.PAGESIZE
        stop = -(-(rows + 1) * self._row_bytes // mmap.PAGESIZE)
        for first, last in zip(start.tolist(), stop.tolist(), strict=True):
            self._map.madvise(mmap.MADV_WILLNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)

    def read_at_random(self) -> None:
        """No reading ahead: a row says nothing about which one is next."""
        self._map.madvise(mmap.MADV_RANDOM)


@dataclass(frozen=True)
class Arrays:
    """Makes arrays: in memory, or `on_disk` in a folder; None takes the system's for temporary files."""

    on_disk: bool = False
    folder: Path | None = None

    def new(self, capacity: int, width: tuple[int, ...], dtype: DTypeLike) -> MemoryArray | MappedArray:
        """Raises OSError."""
        if self.on_disk:
            return MappedArray(self.folder, capacity, width, dtype)
        return MemoryArray(capacity, width, dtype)
