"""Vectors as one bit a dimension, which estimate their cosines, with the exact ones on the disk.

Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for Approximate Nearest
Neighbor Search", SIGMOD 2024, arXiv 2405.12497. A unit vector x is turned by a random rotation R, and the signs of R·x
are kept. With s = ±1 the signs and q the query, ⟨R·q, s⟩ / ‖R·x‖₁ is an unbiased estimate of ⟨q, x⟩ over the choice of
R, and its standard deviation follows from ‖R·x‖₁ alone. No mean is taken off first: measured on review sentences and on
texts made from one pattern it gained nothing (docs/decisions/021), and without one a code never changes.
"""

from pathlib import Path
from random import Random

import numpy as np
import simsimd
from numpy.typing import NDArray

from runtime.catalog.mapped import MappedArray

# The query is kept to so many bits a dimension: five or six found no more (docs/decisions/021).
_QUERY_BITS = 4
_PLANES = 2.0 ** np.arange(_QUERY_BITS, dtype=np.float32)
_STEPS = 2**_QUERY_BITS - 1

# Standard deviations that a score is taken to be off by at most: 95 % of the rows are closer to their estimate.
_DEVIATIONS = 2.0

# Rows whose exact scores are computed: measured on a million, those with the best estimates held over 99 % of the ten
# nearest (docs/decisions/021).
MOST_RESCORED = 1_024


class BinaryMatrix:
    """See `Matrix`. Of a row 52 bytes are in memory, and 1,536 in a mapped file, read where it is among the best.

    The codes are not in a mapped file, whose pages the system may give to others under a hard limit: every search reads
    all of them.
    """

    def __init__(self, rows: int, dimensions: int, folder: Path | None = None) -> None:
        """dimensions: a multiple of 8. folder: of the files; None takes the system's for temporary files."""
        self.row_bytes = dimensions // 8 + 4
        self._rotation = _rotation(dimensions)
        self._codes = np.empty((rows, dimensions // 8), np.uint8)
        self._factors = np.empty(rows, np.float32)
        self._vectors = MappedArray(folder, rows, (dimensions,), np.float32)
        self._vectors.read_at_random()

    def reserve(self, rows: int) -> None:
        self._vectors.reserve(rows)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        rotated = self._rotation @ vector
        self._vectors.write(row, vector)
        self._codes[row] = np.packbits(rotated > 0)
        self._factors[row] = 1 / max(float(np.abs(rotated).sum()), 1.0)  # of a unit vector it is 1 or more

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


def _rotation(dimensions: int) -> NDArray[np.float32]:
    """A random orthogonal matrix [dimensions, dimensions], the same in every process."""
    random = Random(2405_12497)
    gaussian = np.array([random.gauss(0, 1) for _ in range(dimensions**2)]).reshape(dimensions, dimensions)
    rotation, _ = np.linalg.qr(gaussian)
    return rotation.astype(np.float32)
