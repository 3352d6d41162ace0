"""Rows of a file of which little fits in memory, read past the page cache and several at a time.

Through the cache each row takes a page or two of it from what searches read over and over, and the system, under a hard
limit of memory, as much time to make room as to read (docs/decisions/021).
"""

import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.queued_reads import QueuedReads

THREADS = 8  # where the system has no queue of reads; 16 were no quicker
_SECTOR = 512  # what such reads have to start at and be a multiple of, by most devices
_FEWEST = 8  # rows a thread is worth starting for


class NoDirectReads(Exception):
    """The file system or the device has none, or not of such rows."""


class DirectReads:
    """`row_bytes` of each row. May be used by several threads at once."""

    def __init__(self, descriptor: int, row_bytes: int) -> None:
        """descriptor: of the file, which outlives this. Raises NoDirectReads."""
        self._file = -1
        if row_bytes % _SECTOR:
            raise NoDirectReads(f"a row has {row_bytes} bytes, no multiple of {_SECTOR}")
        self._row_bytes = row_bytes
        try:
            self._file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
            self._read(memoryview(mmap.mmap(-1, row_bytes)), np.zeros(1, np.intp))
        except OSError as error:
            raise NoDirectReads(str(error)) from error
        self._queue: QueuedReads | None = None
        try:
            self._queue = QueuedReads()
        except OSError:  # as where a container allows none
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="vows-disk")

    def __del__(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)

    def rows(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """These rows as they are on the disk, or about to be: [k, row_bytes]. Raises OSError."""
        if not len(rows):
            return np.empty((0, self._row_bytes), np.uint8)
        target = mmap.mmap(-1, len(rows) * self._row_bytes)  # its start is that of a page
        if self._queue is not None:
            found = np.frombuffer(target, np.uint8)
            self._queue.read(self._file, rows, self._row_bytes, found)
            return found.reshape(len(rows), self._row_bytes)
        parts = np.array_split(np.arange(len(rows)), min(THREADS, -(-len(rows) // _FEWEST)))
        view = memoryview(target)
        bounds = [(int(part[0]), int(part[-1]) + 1) for part in parts]
        pending = [
            self._threads.submit(self._read, view[start * self._row_bytes : stop * self._row_bytes], rows[start:stop])
            for start, stop in bounds
        ]
        for one in pending:
            one.result()
        return np.frombuffer(target, np.uint8).reshape(len(rows), self._row_bytes)

    def run(self, start: int, stop: int) -> mmap.mmap:
        """The rows from `start` up to `stop`, in one read. Raises OSError."""
        size = (stop - start) * self._row_bytes
        target = mmap.mmap(-1, size)
        if os.preadv(self._file, [target], start * self._row_bytes) != size:
            raise OSError(f"rows up to {stop} are cut off on the disk")
        return target

    def _read(self, target: memoryview, rows: NDArray[np.intp]) -> None:
        size = self._row_bytes
        for n, row in enumerate(rows.tolist()):
            if os.preadv(self._file, [target[n * size : (n + 1) * size]], row * size) != size:
                raise OSError(f"row {row} is cut off on the disk")
