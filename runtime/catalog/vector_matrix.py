"""The catalogue's vectors in memory: as they are, or as int8 with a bound on what that costs each cosine."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.ranking import cosine_scores

# Rows turned to float32 at a time: they stay in the second-level cache (measured 256 to 2,048: within a tenth).
_BLOCK_ROWS = 512

# Float32 rounding of a dot product of 384 terms, many times over.
_ROUNDING = 1e-5


class Matrix(Protocol):
    """Unit vectors by row, float32 [dimensions] each. Memory is reserved at once and taken as rows are written."""

    row_bytes: int

    def set(self, row: int, vector: NDArray[np.float32]) -> None: ...

    def row(self, row: int) -> NDArray[np.float32]:
        """One row as it is held, [dimensions]; maybe a view."""
        ...

    def held(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """These rows as they are held, a copy: float32 [k, dimensions]."""
        ...

    def scores(self, query: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        """Cosines of a unit vector with the rows from `start` up to `stop`."""
        ...

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """How far each of these rows' scores can be from the exact cosine, [k]; None where all are exact."""
        ...


class Float32Matrix:
    def __init__(self, rows: int, dimensions: int) -> None:
        self.row_bytes = row_bytes("float32", dimensions)
        self._rows = np.empty((rows, dimensions), np.float32)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        self._rows[row] = vector

    def row(self, row: int) -> NDArray[np.float32]:
        held: NDArray[np.float32] = self._rows[row]
        return held

    def held(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._rows[rows]

    def scores(self, query: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        return cosine_scores(query, self._rows[start:stop])

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        return None


class Int8Matrix:
    """Each row as int8 times a scale of its own, with the length of what that leaves out.

    A cosine with a unit vector is off by no more than that length (Cauchy and Schwarz), so the rows that can be among
    the best are known, and scoring these alone from exact vectors gives exact results.
    """

    def __init__(self, rows: int, dimensions: int) -> None:
        self.row_bytes = row_bytes("int8", dimensions)
        self._rows = np.empty((rows, dimensions), np.int8)
        self._scales = np.empty(rows, np.float32)
        self._errors = np.empty(rows, np.float32)
        self._block = np.empty((_BLOCK_ROWS, dimensions), np.float32)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        scale = np.float32(np.abs(vector).max() / 127) or np.float32(1)  # 1 for a row of zeros
        self._rows[row] = np.rint(vector / scale)
        self._scales[row] = scale
        left_out = vector - self.row(row)
        self._errors[row] = math.sqrt(np.dot(left_out, left_out)) + _ROUNDING

    def row(self, row: int) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = self._rows[row] * self._scales[row]
        return scaled

    def held(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = self._rows[rows] * self._scales[rows, np.newaxis]
        return scaled

    def scores(self, query: NDArray[np.float32], start: int, stop: int) -> NDArray[np.float32]:
        scores = np.empty(stop - start, np.float32)
        for first in range(start, stop, _BLOCK_ROWS):
            last = min(first + _BLOCK_ROWS, stop)
            block = self._block[: last - first]
            np.copyto(block, self._rows[first:last])  # BLAS has no int8; this conversion is half of the time
            np.matmul(block, query, out=scores[first - start : last - start])
        scores *= self._scales[start:stop]
        return scores

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        return self._errors[rows]


def row_bytes(format: str, dimensions: int) -> int:
    """Bytes that a vector takes: as float32, or as int8 with its scale and its error."""
    return 4 * dimensions if format == "float32" else dimensions + 8
