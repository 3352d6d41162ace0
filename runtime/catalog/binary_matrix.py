"""Vectors as one bit a dimension, which estimate their cosines, with the exact ones on the disk.

Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search", SIGMOD 2024, arXiv 2405.12497. A unit vector x is turned by a random rotation R, and the signs of R·x
are kept. With s = ±1 the signs and q the query, ⟨R·q, s⟩ / ‖R·x‖₁ is an unbiased estimate of ⟨q, x⟩ over the choice of
R, and its standard deviation follows from ‖R·x‖₁ alone. No mean is taken off first: measured on review sentences and on
texts made from one pattern it gained nothing (docs/decisions/021), and without one a code never changes.
"""

from functools import lru_cache
from random import Random
from zlib import crc32

import numpy as np
import simsimd
from numpy.typing import NDArray

from runtime.catalog.mapped import Arrays, MirroredArray

# The query is kept to so many bits a dimension: five or six found no more (docs/decisions/021).
_QUERY_BITS = 4
_PLANES = 2.0 ** np.arange(_QUERY_BITS, dtype=np.float32)
_STEPS = 2**_QUERY_BITS - 1

# Standard deviations that a score is taken to be off by at most: 95 % of the rows are closer to their estimate.
_DEVIATIONS = 2.0

# Rows whose exact scores are computed: measured on a million, those with the best estimates held over 99 % of the ten
# nearest, also where what is nearest is hardly nearer than the rest (docs/decisions/021).
MOST_RESCORED = 2_048

_MEAN_STEP = 4_096
_UNSAVED = Arrays(on_disk=True)


class BinaryMatrix:
    """See `Matrix`. Of a row 52 bytes are in memory, and 1,536 in a mapped file, read where it is among the best.

    The codes are not in a mapped file, whose pages the system may give to others under a hard limit: every search reads
    all of them.
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
        self._vectors = arrays.mapped(rows, (dimensions,), np.float32, "vectors")
        self._vectors.read_at_random()

    @property
    def read_by_searches(self) -> list[NDArray[np.generic]]:
        """What is in memory of each row."""
        return [self._codes, self._factors]

    @property
    def rotation_mark(self) -> int:
        """The same for the same rotation, but for rounding."""
        return crc32(np.packbits(self._rotation[:8] > 0).tobytes())

    def reserve(self, rows: int) -> None:
        for one in (*self._in_memory, self._vectors):
            one.reserve(rows)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        rotated = self._rotation @ vector
        self._vectors.write(row, vector)
        codes, factors = self._in_memory
        codes.write(row, np.packbits(rotated > 0))
        of_unit_vector = max(float(np.abs(rotated).sum()), 1.0)  # it is 1 or more
        factors.write(row, np.float32(1 / of_unit_vector))

    def erase(self, row: int) -> None:
        """Overwrite a row that is no longer held. Raises OSError."""
        self._vectors.write(row, np.zeros(len(self._rotation), np.float32))
        for array in self._in_memory:
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
            signs = np.unpackbits(self._codes[some], axis=1).astype(np.float32)
            total += self._factors[some] @ (2 * signs - 1)
        return (total @ self._rotation).astype(np.float64) / max(len(rows), 1)

    def row(self, row: int) -> NDArray[np.float32]:
        held: NDArray[np.float32] = self._vectors.rows[row]
        return held

    def exact(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._vectors.rows[rows]
        return found

    def expect(self, rows: NDArray[np.intp]) -> bool:
        self._vectors.expect(rows)
        return True

    def scan(self, query: NDArray[np.float32]) -> "BinaryScan":
        return BinaryScan(self._codes, self._factors, self._rotation @ query)


class BinaryScan:
    """The rotated query is 15 steps of equal size wide, so it is a weighted sum of four vectors of ±1, and its product
    with a row's signs a sum of four Hamming distances."""

    most_rescored = MOST_RESCORED

    def __init__(self, codes: NDArray[np.uint8], factors: NDArray[np.float32], rotated: NDArray[np.float32]) -> None:
        self._codes, self._factors = codes, factors
        self._dimensions = len(rotated)
        largest = float(np.abs(rotated).max()) or 1.0
        level = np.rint((rotated / largest + 1) * (_STEPS / 2)).astype(np.uint8)  # 0 to 15
        self._planes = np.packbits(level >> np.arange(_QUERY_BITS, dtype=np.uint8)[:, np.newaxis] & 1, axis=1)
        self._step = np.float32(largest / _STEPS)

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        """See Scan."""
        if start == stop:
            return np.empty(0, np.float32)
        distances = simsimd.cdist(
            self._planes, self._codes[start:stop], "hamming", dtype="bin8", out_dtype="float32"
        )  # [planes, rows]; not with `out`, see vector_matrix
        scores: NDArray[np.float32] = _PLANES @ np.asarray(distances)
        scores *= np.float32(-2)
        scores += np.float32(_STEPS * self._dimensions)
        scores *= self._factors[start:stop]
        scores *= self._step
        return scores

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """Two standard deviations: of a row's estimate, with the query as it is."""
        d = self._dimensions
        variance = (d * np.square(self._factors[rows]) - 1).clip(min=0) / (d - 1)
        errors: NDArray[np.float32] = np.float32(_DEVIATIONS) * np.sqrt(variance)
        return errors


@lru_cache(1)
def _rotation(dimensions: int) -> NDArray[np.float32]:
    """A random orthogonal matrix [dimensions, dimensions], the same in every process."""
    random = Random(2405_12497)
    gaussian = np.array([random.gauss(0, 1) for _ in range(dimensions**2)]).reshape(dimensions, dimensions)
    rotation, _ = np.linalg.qr(gaussian)
    return rotation.astype(np.float32)
