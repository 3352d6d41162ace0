"""Vectors as one bit a dimension, which estimate their cosines, with a second bit and the exact ones on the disk."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.binary_scan import BinaryScan, of_rows
from runtime.catalog.checksums import Checksum
from runtime.catalog.clusters import NUMBERS, Clusters
from runtime.catalog.codes import FINER_BYTES, encode
from runtime.catalog.mapped import Arrays, MirroredArray

_MEAN_STEP = 4_096
_CHECKED_STEP = 1 << 14
_CODED_STEP = 128  # rows coded together: about a millisecond
_UNSAVED = Arrays(on_disk=True)

# Which of these rows have these exact vectors, for all that is known.
Sound = Callable[[NDArray[np.intp], NDArray[np.float32]], NDArray[np.bool_]]


class BinaryMatrix:
    """See `Matrix`. Of a row 54 bytes are in memory; in mapped files are another 52, its second bits, and the 1,536 of
    the vector, read where it is among the best.

    The first bits are not in a mapped file, whose pages the system may give to others under a hard limit: every search
    reads all of them, or those of the nearest clusters.
    """

    def __init__(self, rows: int, dimensions: int, arrays: Arrays = _UNSAVED) -> None:
        """dimensions: a multiple of 32. Raises OSError."""
        self.row_bytes = dimensions // 8 + 4
        self._rotation = _rotation(dimensions)
        self._in_memory = [
            arrays.mirrored(rows, (dimensions // 8,), np.uint8, "codes"),
            arrays.mirrored(rows, (), np.float16, "factors"),
            arrays.mirrored(rows, (), np.float16, "offsets"),
            arrays.mirrored(rows, (), np.uint16, "clusters-of-rows"),
        ]
        self._codes, self._factors, self._offsets, numbers = (one.rows for one in self._in_memory)
        self._finer = arrays.mapped(rows, (dimensions // 8 + FINER_BYTES,), np.uint8, "finer")
        self._vectors = arrays.mapped(rows, (dimensions,), np.float32, "vectors")
        self._vectors.read_at_random()
        self._vectors.read_past_cache()
        self._sums = arrays.mapped(rows, (), np.uint32, "code-sums") if arrays.saved is not None else None
        self._checksum = Checksum(dimensions // 16 + 3)
        self.clusters = Clusters(numbers, dimensions)

    @property
    def rotation_mark(self) -> int:
        """The same for the same rotation, but for rounding."""
        return crc32(np.packbits(self._rotation[:8] > 0).tobytes())

    def reserve(self, rows: int) -> None:
        for one in (*self._in_memory, self._finer, self._vectors, self._sums):
            if one is not None:
                one.reserve(rows)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        self._vectors.write(row, vector)
        self._code(row, (self._rotation @ vector)[np.newaxis])
        self.clusters.changed()

    def erase(self, row: int) -> None:
        """Overwrite a row that is no longer held. Raises OSError."""
        self._vectors.write(row, np.zeros(len(self._rotation), np.float32))
        width = self._finer.rows.shape[1]
        zero = np.zeros(1, np.uint16)
        self._write_codes(
            row, zero, np.zeros((1, width - FINER_BYTES), np.uint8), zero, zero, np.zeros((1, width), np.uint8)
        )

    def _code(self, start: int, rotated: NDArray[np.float32]) -> None:
        """Write the codes of rows from `start` on, whose rotated vectors are [n, dimensions]."""
        numbers = self.clusters.nearest(rotated)
        codes = encode(rotated, self.clusters.centres[numbers])
        self._write_codes(start, numbers, *codes)

    def _write_codes(
        self,
        start: int,
        numbers: NDArray[np.uint16],
        signs: NDArray[np.uint8],
        factors: NDArray[Any],
        offsets: NDArray[Any],
        finer: NDArray[np.uint8],
    ) -> None:
        stop = start + len(numbers)
        self.clusters.renumbered(self.clusters.numbers[start:stop], numbers)
        parts: tuple[NDArray[Any], ...] = (signs, factors, offsets, numbers)
        for array, values in zip(self._in_memory, parts, strict=True):
            array.write_rows(start, values)
        self._finer.write_rows(start, finer)
        if self._sums is not None:
            self._sums.write_rows(start, self._checksum.of(self._words(start, stop)))

    def _words(self, start: int, stop: int) -> NDArray[np.uint32]:
        """What is kept of rows to estimate their scores, and what their codes are relative to."""
        halves = np.stack([self._factors[start:stop], self._offsets[start:stop]], axis=1)
        marks = self.clusters.marks[self.clusters.numbers[start:stop]]
        parts = (self._codes[start:stop], halves, self._finer.rows[start:stop], marks[:, np.newaxis])
        return np.concatenate([np.ascontiguousarray(one).view(np.uint32) for one in parts], axis=1)

    def read(self, rows: int) -> None:
        """Take the first rows from saved files. Raises OSError."""
        for one in self._in_memory:
            if isinstance(one, MirroredArray):
                one.read(rows)
        numbers = self.clusters.numbers[:rows]
        numbers[numbers >= NUMBERS] = 0  # damaged, which the checksum of the codes says, too

    def wrong(self, rows: int) -> NDArray[np.bool_]:
        """Of the first rows, which are saved, those whose codes are not as they were written, or of other clusters'
        centres: [rows]."""
        assert self._sums is not None
        found = np.zeros(rows, np.bool_)
        for start in range(0, rows, _CHECKED_STEP):
            stop = min(start + _CHECKED_STEP, rows)
            found[start:stop] = self._checksum.of(self._words(start, stop)) != self._sums.rows[start:stop]
        return found

    def code(self, rows: NDArray[np.intp], sound: Sound) -> Iterator[None]:
        """Make the codes of these rows, rising, again from their vectors, but for those that are not `sound`, in steps
        of about a millisecond. Raises OSError."""
        first = np.diff(rows, prepend=-2) > 1
        first[::_CODED_STEP] = True
        for run in np.split(rows, np.flatnonzero(first)[1:]) if len(rows) else []:
            start, stop = int(run[0]), int(run[-1]) + 1
            vectors = self._vectors.read_rows(start, stop)
            rotated = vectors @ self._rotation.T
            if (good := sound(run, vectors)).all():
                self._code(start, rotated)
            else:
                for n in np.flatnonzero(good).tolist():
                    self._code(start + n, rotated[n : n + 1])
            yield

    def plan_clusters(self, held: NDArray[np.bool_]) -> Iterator[None]:
        """See `Clusters.plan`."""
        return self.clusters.plan(held, self._approximate, lambda rows: self._vectors.gather(rows) @ self._rotation.T)

    def use_clusters(self, held: NDArray[np.bool_], sound: Sound) -> Iterator[None]:
        """Give rows the clusters that were planned, in steps of about a millisecond, between which rows may change.
        held: by row, kept current. Raises OSError."""
        self.clusters.use(int(np.count_nonzero(held)))
        for block in range(0, len(held), _CHECKED_STEP):
            stop = min(block + _CHECKED_STEP, len(held))
            start = block if len(self.clusters.old(held, block, stop)) else stop
            while start < stop:
                yield from self.code(self.clusters.old(held, start, min(start + _CODED_STEP, stop)), sound)
                start += _CODED_STEP
        self.clusters.finish()

    def mean(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """The average of these rows by their estimates, [dimensions]."""
        total = np.zeros(len(self._rotation), np.float32)
        for start in range(0, len(rows), _MEAN_STEP):
            total += self._approximate(rows[start : start + _MEAN_STEP]).sum(axis=0)
        return (total @ self._rotation).astype(np.float64) / max(len(rows), 1)

    def _approximate(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The rotated vectors of these rows, from one bit a dimension."""
        found = np.unpackbits(of_rows(self._codes, rows), axis=1).astype(np.float32)
        found *= 2
        found -= 1
        found *= self._factors[rows][:, np.newaxis]
        found += self.clusters.centres[self.clusters.numbers[rows]]
        return found

    def row(self, row: int) -> NDArray[np.float32]:
        held: NDArray[np.float32] = self._vectors.rows[row]
        return held

    def exact(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._vectors.rows[rows]
        return found

    @property
    def vectors_near(self) -> bool:
        """Whether those that were fetched last were in memory."""
        return self._vectors.near

    async def fetch(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """As `exact`, where that can have to wait for the disk. Raises OSError."""
        return await self._vectors.gathered(rows)

    async def finer(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """What `BinaryScan.closer` needs of these rows. Raises OSError."""
        return await self._finer.gathered(rows)

    def near(self, query: NDArray[np.float32], wanted: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
        """See `Catalog.near`."""
        return self.clusters.near(self._rotation @ query, wanted, least)

    def scan(self, query: NDArray[np.float32]) -> BinaryScan:
        return BinaryScan(self._codes, self._factors, self._offsets, self.clusters, self._rotation @ query)


@lru_cache(1)
def _rotation(dimensions: int) -> NDArray[np.float32]:
    """A random orthogonal matrix [dimensions, dimensions], the same in every process."""
    random = Random(2405_12497)
    gaussian = np.array([random.gauss(0, 1) for _ in range(dimensions**2)]).reshape(dimensions, dimensions)
    rotation, _ = np.linalg.qr(gaussian)
    return rotation.astype(np.float32)
