"""Arrays by row, in memory or in mapped files: those are memory that the system can take back."""

import asyncio
import errno
import mmap
import os
import resource
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from runtime.catalog.direct_reads import DirectReads, NoDirectReads
from runtime.system.host import memory_limit

_GROWTH_BYTES = 4 << 20  # of a file, allocated at a time
_READ_BYTES = 4 << 20
_FEW_BLOCKS = 128  # of 512 bytes: 16 pages, for which one waits a millisecond or two


class RowArray(Protocol):
    """`rows`: an array [capacity, …], of zeros where nothing was written."""

    rows: NDArray[Any]

    def reserve(self, rows: int) -> None:
        """Make sure that the first `rows` can be written. Raises OSError."""
        ...

    def write(self, row: int, values: NDArray[Any] | np.generic) -> None:
        """Set one row. Raises OSError."""
        ...

    def write_rows(self, start: int, values: NDArray[Any]) -> None:
        """Set the rows from `start` on to values [n, …], of the same width in bytes. Raises OSError."""
        ...


class MemoryArray:
    """See `RowArray`. The system allocates memory as rows are first written."""

    def __init__(self, capacity: int, width: tuple[int, ...], dtype: DTypeLike) -> None:
        self.rows: NDArray[Any] = np.zeros((capacity, *width), dtype)

    def reserve(self, rows: int) -> None:
        """Nothing has to be done."""

    def write(self, row: int, values: NDArray[Any] | np.generic) -> None:
        self.rows[row] = values

    def write_rows(self, start: int, values: NDArray[Any]) -> None:
        self.rows[start : start + len(values)] = values


class _RowFile:
    """A file of rows: without a name, and then it goes with the process, however that ends; or saved as `path`.

    Space on the disk is allocated before rows are written, so that a full disk is an error of `reserve` and not a
    signal at a later access.
    """

    def __init__(self, place: Path | None, capacity: int, row_bytes: int, *, named: bool) -> None:
        """place: the file's path if it is `named`, else its folder; None takes the system's for temporary files."""
        self.size = max(capacity, 1) * row_bytes
        self._row_bytes = row_bytes
        self._allocated = 0
        self._file: BinaryIO
        if named:
            assert place is not None
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = open(descriptor, "r+b", buffering=0)  # noqa: SIM115 - lives as long as this object
        else:
            self._file = tempfile.TemporaryFile(dir=place, buffering=0)  # noqa: SIM115
        self.descriptor = self._file.fileno()
        self.found_rows = os.fstat(self.descriptor).st_size // row_bytes  # from an earlier process
        os.ftruncate(self.descriptor, self.size)

    def reserve(self, rows: int) -> None:
        needed = rows * self._row_bytes
        if needed > self._allocated:
            stop = min(-(-needed // _GROWTH_BYTES) * _GROWTH_BYTES, self.size)
            if stop < needed:
                raise OSError(errno.EFBIG, f"{rows} rows are more than the file is for")
            os.posix_fallocate(self.descriptor, self._allocated, stop - self._allocated)
            self._allocated = stop

    def write(self, row: int, values: NDArray[Any] | np.generic) -> None:
        """Set a row, or several from this one on."""
        data = values.tobytes()
        self.reserve(row + len(data) // self._row_bytes)
        if os.pwrite(self.descriptor, data, row * self._row_bytes) != len(data):
            raise OSError(errno.EIO, f"not all of the {len(data)} bytes of rows were written")

    def read(self, start: int, stop: int) -> bytes:
        """The rows from `start` up to `stop`. Raises OSError."""
        data = os.pread(self.descriptor, (stop - start) * self._row_bytes, start * self._row_bytes)
        if len(data) != (stop - start) * self._row_bytes:
            raise OSError(errno.EIO, "the file is shorter than it was")
        return data

    def sync(self) -> None:
        os.fsync(self.descriptor)


class MappedArray:
    """See `RowArray`. In a mapped file: call `reserve` before writing to `rows`."""

    def __init__(
        self, place: Path | None, capacity: int, width: tuple[int, ...], dtype: DTypeLike, *, named: bool = False
    ) -> None:
        """place: see `_RowFile`. width: shape of a row. Raises OSError."""
        self._row_bytes = _row_bytes(width, dtype)
        self._file = _RowFile(place, capacity, self._row_bytes, named=named)
        self._map = mmap.mmap(self._file.descriptor, self._file.size)
        self.rows: NDArray[Any] = np.frombuffer(self._map, dtype).reshape(-1, *width)
        self._advice = mmap.MADV_NORMAL
        self._direct: DirectReads | None = None
        self._far = True  # rows that were last gathered were on the disk, more than a few

    @property
    def found_rows(self) -> int:
        """Rows that the file held when it was opened."""
        return self._file.found_rows

    def reserve(self, rows: int) -> None:
        self._file.reserve(rows)

    def write(self, row: int, values: NDArray[Any] | np.generic) -> None:
        """By a write and not through the map: then its pages are nobody's resident memory. Raises OSError."""
        self._file.write(row, values)

    def write_rows(self, start: int, values: NDArray[Any]) -> None:
        """As `write`."""
        self._file.write(start, values)

    def read_rows(self, start: int, stop: int) -> NDArray[Any]:
        """A copy of these rows, read past the cache where `gather` does so, and else with reading ahead. Raises
        OSError."""
        data = self._file.read(start, stop) if self._direct is None else self._direct.run(start, stop)
        return np.frombuffer(data, self.rows.dtype).reshape(stop - start, *self.rows.shape[1:])

    def sync(self) -> None:
        """Return when what was written is on the disk. Raises OSError."""
        self._file.sync()

    def read_at_random(self) -> None:
        """From now on without reading ahead: a row says nothing about which one is next, and some disks read 8 MiB. Its
        pages are the first that the system takes back; not for what is read over and over."""
        self._advise(mmap.MADV_RANDOM)

    def read_by_passes(self) -> None:
        """From now on with much reading ahead, and pages that the system takes back first, too."""
        self._advise(mmap.MADV_SEQUENTIAL)

    def read_in_order(self) -> None:
        """With reading ahead, until `read_as_before`."""
        self._map.madvise(mmap.MADV_NORMAL)

    def read_as_before(self) -> None:
        """As is said for the array."""
        self._map.madvise(self._advice)

    def release(self) -> None:
        """What was read so far is no longer this process's resident memory; the page cache may keep it."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _advise(self, advice: int) -> None:
        self._advice = advice
        self._map.madvise(advice)

    def read_past_cache(self) -> None:
        """Gather rows past the page cache where less than half of the file fits in memory, and it can be done."""
        limit = memory_limit()
        if limit is not None and self._file.size > 2 * limit:
            with suppress(NoDirectReads):
                self._direct = DirectReads(self._file.descriptor, self._row_bytes)

    @property
    def near(self) -> bool:
        """Whether rows that were gathered last were in memory, but for a few."""
        return self._direct is None and not self._far

    async def gathered(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """As `gather`: in a thread, except where they are `near`. Raises OSError."""
        if self.near:
            return self.gather(rows)
        return await asyncio.to_thread(self.gather, rows)

    def gather(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """A copy of these rows, which may have to wait for the disk. Raises OSError."""
        if self._direct is not None:
            found = self._direct.rows(rows).view(self.rows.dtype)
            return found.reshape(len(rows), *self.rows.shape[1:])
        before = _blocks_read()
        if self._far:
            self._expect(rows)
        copy: NDArray[Any] = np.take(self.rows, rows, axis=0)
        self._far = _blocks_read() - before > _FEW_BLOCKS
        return copy

    def _expect(self, rows: NDArray[np.intp]) -> None:
        """Start to read these rows from the disk, so that what is not in memory comes at once instead of page by page.
        It takes a microsecond a row."""
        first = np.unique(rows * self._row_bytes // mmap.PAGESIZE)
        last = np.unique(((rows + 1) * self._row_bytes - 1) // mmap.PAGESIZE)
        pages = np.union1d(first, last)
        starts = np.flatnonzero(np.diff(pages, prepend=-2) > 1)
        counts = np.diff(starts, append=len(pages))
        for page, count in zip(pages[starts].tolist(), counts.tolist(), strict=True):
            self._map.madvise(mmap.MADV_WILLNEED, page * mmap.PAGESIZE, count * mmap.PAGESIZE)


class MirroredArray:
    """See `RowArray`. In memory, with a copy in a saved file: `write` alone changes both."""

    def __init__(self, path: Path, capacity: int, width: tuple[int, ...], dtype: DTypeLike) -> None:
        """Raises OSError."""
        self._row_bytes = _row_bytes(width, dtype)
        self._file = _RowFile(path, capacity, self._row_bytes, named=True)
        self.rows: NDArray[Any] = np.zeros((capacity, *width), dtype)

    @property
    def found_rows(self) -> int:
        """Rows that the file held when it was opened."""
        return self._file.found_rows

    def reserve(self, rows: int) -> None:
        self._file.reserve(rows)

    def write(self, row: int, values: NDArray[Any] | np.generic) -> None:
        self.rows[row] = values
        self._file.write(row, np.asarray(values, self.rows.dtype))

    def write_rows(self, start: int, values: NDArray[Any]) -> None:
        self.rows[start : start + len(values)] = values
        self._file.write(start, values.astype(self.rows.dtype, copy=False))

    def sync(self) -> None:
        """Return when what was written is on the disk. Raises OSError."""
        self._file.sync()

    def read(self, rows: int) -> None:
        """Take the first `rows` from the file, whose pages the cache need not keep. Raises OSError."""
        target = self.rows[:rows].reshape(-1).view(np.uint8).data
        for start in range(0, len(target), _READ_BYTES):
            part = target[start : start + _READ_BYTES]
            if os.preadv(self._file.descriptor, [part], start) != len(part):
                raise OSError(errno.EIO, "the file is shorter than it was")
        os.posix_fadvise(self._file.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass(frozen=True)
class Arrays:
    """Makes arrays: in memory, or `on_disk` in a folder; None takes the system's for temporary files.

    saved: the folder of files that outlive the process; `kept` are the arrays in them.
    """

    on_disk: bool = False
    folder: Path | None = None
    saved: Path | None = None
    kept: dict[str, "MappedArray | MirroredArray"] = field(default_factory=dict)

    def new(self, capacity: int, width: tuple[int, ...], dtype: DTypeLike, name: str = "") -> RowArray:
        """name: of the file, for an array that is saved where anything is. Raises OSError."""
        return self.mapped(capacity, width, dtype, name) if self.on_disk else MemoryArray(capacity, width, dtype)

    def mapped(self, capacity: int, width: tuple[int, ...], dtype: DTypeLike, name: str = "") -> MappedArray:
        """As `new`, always in a file."""
        if self.saved is None or not name:
            return MappedArray(self.folder, capacity, width, dtype)
        self.kept[name] = made = MappedArray(self.saved / name, capacity, width, dtype, named=True)
        return made

    def mirrored(self, capacity: int, width: tuple[int, ...], dtype: DTypeLike, name: str) -> RowArray:
        """In memory, beside a file if it is saved."""
        if self.saved is None:
            return MemoryArray(capacity, width, dtype)
        self.kept[name] = made = MirroredArray(self.saved / name, capacity, width, dtype)
        return made


def _blocks_read() -> int:
    """By this thread, from disks."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def _row_bytes(width: tuple[int, ...], dtype: DTypeLike) -> int:
    return int(np.prod(width, dtype=np.int64)) * np.dtype(dtype).itemsize
