"""Vectors as one bit a dimension, which estimate their cosines, with a second bit and the exact ones on the disk.

Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search", SIGMOD 2024, arXiv 2405.12497. A unit vector x is turned by a random rotation R, and the signs of R·x
are kept. With s = ±1 the signs and q the query, ⟨R·q, s⟩ / ‖R·x‖₁ is an unbiased estimate of ⟨q, x⟩ over the choice of
R, and its standard deviation follows from ‖R·x‖₁ alone. No mean is taken off first: measured on review sentences and on
texts made from one pattern it gained nothing (docs/decisions/021), and without one a code never changes.

With a second bit a component is one of −3, −1, 1, 3, and with c these numbers ⟨R·q, c⟩ / ⟨R·x, c⟩ is an estimate that
is half as far off (Gao and others, "Practical and asymptotically optimal quantization of high-dimensional vectors in
Euclidean space for approximate nearest neighbor search", SIGMOD 2025, arXiv 2409.09913). It is computed of the rows
that the first bits leave.
"""

import math
from functools import lru_cache
from random import Random
from zlib import crc32

import numpy as np
import simsimd
from numpy.typing import NDArray

from runtime.catalog.clusters import Clusters
from runtime.catalog.mapped import Arrays, MirroredArray

# The query is kept to so many bits a dimension: five or six found no more (docs/decisions/021).
_QUERY_BITS = 4
_PLANES: NDArray[np.float32] = (2.0 ** np.arange(_QUERY_BITS)).astype(np.float32)
_STEPS = 2**_QUERY_BITS - 1

# Standard deviations that a score is taken to be off by at most: 95 % of the rows are closer to their estimate.
_DEVIATIONS = 2.0

# Rows that are estimated by both bits, and of these those that are scored exactly: measured on a million, they held
# over 99 % of the ten nearest, also where what is nearest is hardly nearer than the rest (docs/decisions/021).
MOST_ESTIMATED = 2_560
MOST_RESCORED = 640

# Between the numbers that two bits stand for, in standard deviations of a component: it leaves the least error of a
# normal distribution (Max, "Quantizing for minimum distortion", 1960, table II).
_LEVEL_STEP = 0.9957

# By which the angle from the signs alone may be off, in radians: on a million, seven in a thousand of the rows that are
# estimated by both bits were further off, and none of the ten nearest (docs/decisions/021).
_ROUGH_ANGLE = 0.1

_MEAN_STEP = 4_096
_NEAR = 16  # where one row in so many is read, all are
_FACTOR_BYTES = 4
_UNSAVED = Arrays(on_disk=True)


class BinaryMatrix:
    """See `Matrix`. Of a row 52 bytes are in memory; in mapped files are another 52, its second bits, and the 1,536 of
    the vector, read where it is among the best.

    The first bits are not in a mapped file, whose pages the system may give to others under a hard limit: every search
    reads all of them.
    """

    def __init__(self, rows: int, dimensions: int, arrays: Arrays = _UNSAVED) -> None:
        """dimensions: a multiple of 8. Raises OSError."""
        self.row_bytes = dimensions // 8 + 4
        self._rotation = _rotation(dimensions)
        self._in_memory = [
            arrays.mirrored(rows, (dimensions // 8,), np.uint8, "codes"),
            arrays.mirrored(rows, (), np.float32, "factors"),
        ]
        self._codes, self._factors = (one.rows for one in self._in_memory)
        self._finer = arrays.mapped(rows, (dimensions // 8 + _FACTOR_BYTES,), np.uint8, "finer")
        self._vectors = arrays.mapped(rows, (dimensions,), np.float32, "vectors")
        self._vectors.read_at_random()
        self._vectors.read_past_cache()
        self.clusters = Clusters(self._codes)

    @property
    def estimates_of_rows(self) -> list[NDArray[np.generic]]:
        """What scores are estimated from, by row."""
        return [self._codes, self._factors, self._finer.rows]

    @property
    def rotation_mark(self) -> int:
        """The same for the same rotation, but for rounding."""
        return crc32(np.packbits(self._rotation[:8] > 0).tobytes())

    def reserve(self, rows: int) -> None:
        for one in (*self._in_memory, self._finer, self._vectors):
            one.reserve(rows)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        rotated = self._rotation @ vector
        self._vectors.write(row, vector)
        codes, factors = self._in_memory
        codes.write(row, np.packbits(rotated > 0))
        of_unit_vector = max(float(np.abs(rotated).sum()), 1.0)  # it is 1 or more
        factors.write(row, np.float32(1 / of_unit_vector))
        self._finer.write(row, _second_bits(rotated))
        self.clusters.set(row, rotated)

    def erase(self, row: int) -> None:
        """Overwrite a row that is no longer held. Raises OSError."""
        self._vectors.write(row, np.zeros(len(self._rotation), np.float32))
        for array in (*self._in_memory, self._finer):
            array.write(row, np.zeros_like(array.rows[row]))

    def read(self, rows: int) -> None:
        """Take the first rows from saved files. Raises OSError."""
        for one in self._in_memory:
            if isinstance(one, MirroredArray):
                one.read(rows)

    def mean(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """The average of these rows by their estimates, [dimensions]."""
        total = np.zeros(len(self._rotation), np.float32)
        for start in range(0, len(rows), _MEAN_STEP):
            some = rows[start : start + _MEAN_STEP]
            signs = np.unpackbits(_of_rows(self._codes, some), axis=1).astype(np.float32)
            total += self._factors[some] @ (2 * signs - 1)
        return (total @ self._rotation).astype(np.float64) / max(len(rows), 1)

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

    def scan(self, query: NDArray[np.float32]) -> "BinaryScan":
        return BinaryScan(self._codes, self._factors, self._rotation @ query)


class BinaryScan:
    """See `Scan` and `Estimates`.

    The rotated query is 15 steps of equal size wide, so it is a weighted sum of four vectors of ±1, and its product
    with a row's signs a sum of four Hamming distances. The first of these vectors is the query's signs: the distance to
    them alone gives the angle (Charikar, "Similarity estimation techniques from rounding algorithms", 2002).
    """

    most_rescored = MOST_ESTIMATED
    most_exact = MOST_RESCORED

    def __init__(self, codes: NDArray[np.uint8], factors: NDArray[np.float32], rotated: NDArray[np.float32]) -> None:
        self._codes, self._factors = codes, factors
        self._dimensions = len(rotated)
        largest = float(np.abs(rotated).max()) or 1.0
        level = np.rint((rotated / largest + 1) * (_STEPS / 2)).astype(np.uint8)  # 0 to 15
        self._planes = np.packbits(level >> np.arange(_QUERY_BITS, dtype=np.uint8)[:, np.newaxis] & 1, axis=1)
        self._step = np.float32(largest / _STEPS)
        self._scratch = codes[:0]

    @property
    def estimates(self) -> "BinaryScan":
        """See `Scan`."""
        return self

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        """See `Scan`."""
        return self._scores(self._codes[start:stop], self._factors[start:stop])

    def scores_of(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """See `Estimates`."""
        return self._scores(_of_rows(self._codes, rows), self._factors[rows])

    def at_most(self, start: int, stop: int) -> NDArray[np.float32]:
        """See `Estimates`."""
        codes = self._brought_near(slice(start, stop))
        if not len(codes):
            return np.empty(0, np.float32)
        angles = _distances(self._planes[-1:], codes)[0]
        angles *= np.float32(math.pi / self._dimensions)
        angles -= np.float32(_ROUGH_ANGLE)
        np.maximum(angles, np.float32(0), out=angles)
        found: NDArray[np.float32] = np.cos(angles, out=angles)
        return found

    def possible(self, rows: NDArray[np.intp] | slice, least: np.float32) -> NDArray[np.bool_] | None:
        """See `Estimates`."""
        codes = self._brought_near(rows)
        if not len(codes):
            return np.ones(0, np.bool_)
        angle = math.acos(min(max(float(least), -1), 1)) + _ROUGH_ANGLE
        distances = _distances(self._planes[-1:], codes)[0]
        near: NDArray[np.bool_] = distances < np.float32(angle * self._dimensions / math.pi)
        return near

    def _brought_near(self, rows: NDArray[np.intp] | slice) -> NDArray[np.uint8]:
        """The codes of rows, where the next pass finds them quickly."""
        if isinstance(rows, slice):
            codes = self._codes[rows]
            if len(codes):
                codes.max()  # the kernel alone waits for the memory (6 of 21 ms for a million rows)
            return codes
        if not len(rows):
            return self._codes[:0]
        between = self._codes[rows[0] : rows[-1] + 1]
        if len(between) < _NEAR * len(rows):
            between.max()  # one by one they take three times as long
        if len(self._scratch) < len(rows):  # the system makes each large array of new pages, which takes its time
            self._scratch = np.empty((len(rows), self._codes.shape[1]), np.uint8)
        return np.take(self._codes, rows, axis=0, out=self._scratch[: len(rows)], mode="clip")  # else a copy more

    def closer(
        self, rows: NDArray[np.intp], finer: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Estimates`."""
        signs, second = _of_rows(self._codes, rows), finer[:, :-_FACTOR_BYTES]
        factors = np.ascontiguousarray(finer[:, -_FACTOR_BYTES:]).view(np.float32)[:, 0]
        scores = 2 * self._products(signs) + self._products(np.ascontiguousarray(second))
        scores *= factors
        outer = np.bitwise_count(~(signs ^ second)).sum(axis=1, dtype=np.int32)  # components of ±3
        squares: NDArray[np.float32] = (self._dimensions + 8 * outer).astype(np.float32)
        squares *= np.square(factors)
        return scores, self._deviations(squares)

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """See `Scan`."""
        return self._deviations(self._dimensions * np.square(self._factors[rows]))

    def _scores(self, codes: NDArray[np.uint8], factors: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = self._products(codes)
        scores *= factors
        return scores

    def _products(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of the query with vectors of ±1, [n]."""
        if not len(codes):
            return np.empty(0, np.float32)
        products: NDArray[np.float32] = _PLANES @ _distances(self._planes, codes)
        products *= np.float32(-2)
        products += np.float32(_STEPS * self._dimensions)
        products *= self._step
        return products

    def _deviations(self, squares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Two standard deviations of estimates, with the query as it is. squares: of the length of a row's numbers by
        that of their product with it, one over the squared cosine of the two."""
        above = np.maximum(squares - np.float32(1), np.float32(0))
        errors: NDArray[np.float32] = np.sqrt(above) * np.float32(_DEVIATIONS / math.sqrt(self._dimensions - 1))
        return errors


def _of_rows(codes: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """A copy. `codes[rows]` takes 16 times as long of many rows: 5.9 ms for 100,000 of a million."""
    found: NDArray[np.uint8] = np.take(codes, rows, axis=0)
    return found


def _distances(planes: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Hamming distances [planes, n]. Not with `out`, see vector_matrix."""
    return np.asarray(simsimd.cdist(planes, codes, "hamming", dtype="bin8", out_dtype="float32"))


def _second_bits(rotated: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The lower of a component's two bits, and one over the product of the vector with the numbers of ±1 and ±3."""
    far = np.abs(rotated) > _LEVEL_STEP / math.sqrt(len(rotated))
    positive = rotated > 0
    product = max(float(np.abs(rotated) @ (1 + 2 * far)), 1.0)  # it is 1 or more
    factor = np.array([1 / product], np.float32)
    return np.concatenate([np.packbits(positive == far), factor.view(np.uint8)])


@lru_cache(1)
def _rotation(dimensions: int) -> NDArray[np.float32]:
    """A random orthogonal matrix [dimensions, dimensions], the same in every process."""
    random = Random(2405_12497)
    gaussian = np.array([random.gauss(0, 1) for _ in range(dimensions**2)]).reshape(dimensions, dimensions)
    rotation, _ = np.linalg.qr(gaussian)
    return rotation.astype(np.float32)
