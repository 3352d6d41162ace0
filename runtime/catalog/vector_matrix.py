"""The catalogue's vectors in memory: as float32, or as int8 with the exact ones in a mapped file."""

import math
from pathlib import Path
from typing import Protocol

import numpy as np
import simsimd
from numpy.typing import NDArray

from runtime.catalog.mapped import MappedArray
from runtime.personalization.ranking import cosine_scores

# Of int8: measured, so many are enough for results as exact as from float32 (docs/decisions/008).
MOST_RESCORED = 1_024

# Float32 rounding of a dot product of 384 terms, many times over.
_ROUNDING = 1e-5


class Estimates(Protocol):
    """Of a scan whose rows are on the disk, beside its scores. `most_exact`: rows, by their closer scores, whose exact
    ones are worth reading."""

    most_exact: int

    def at_most(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """What next to none of the rows from `start` up to `stop` scores more than, in a third of the time that their
        scores take; None where there is no such way."""
        ...

    def possible(self, rows: NDArray[np.intp] | slice, least: np.float32) -> NDArray[np.bool_] | None:
        """Which of these rows, rising, may score more than `least`, [k]: next to none that does is left out. None where
        there is no quick way."""
        ...

    def scores_of(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The scores of these rows, [k]."""
        ...

    def closer(
        self, rows: NDArray[np.intp], finer: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Better scores of these rows, and their errors, from what the matrix has as `finer` of them: [k] each."""
        ...


class Scan(Protocol):
    """One query's scores of rows of a matrix. `most_rescored`: rows whose exact scores, or whose closer ones, are worth
    reading."""

    most_rescored: int

    @property
    def estimates(self) -> Estimates | None:
        """None where the rows are in memory."""
        ...

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        """Cosines of the query with the rows from `start` up to `stop`, within `errors` of the exact ones."""
        ...

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        """How far each of these rows' scores can be from the exact cosine, [k]; None where all are exact. Of estimates
        (binary_matrix) it is how far most are."""
        ...


class Matrix(Protocol):
    """Unit vectors by row, float32 [dimensions] each. Memory is reserved at once and taken as rows are written."""

    row_bytes: int

    def reserve(self, rows: int) -> None:
        """Make sure that the first `rows` can be written. Raises OSError."""
        ...

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        """Raises OSError."""
        ...

    def row(self, row: int) -> NDArray[np.float32]:
        """One row as it is held in memory, [dimensions]; maybe a view."""
        ...

    def exact(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """These rows as they were set, a copy: float32 [k, dimensions]."""
        ...

    def scan(self, query: NDArray[np.float32]) -> Scan:
        """Prepare the scores of a unit vector [dimensions]."""
        ...


class Float32Matrix:
    """Every row as it was set, in memory: scans score them exactly."""

    def __init__(self, rows: int, dimensions: int) -> None:
        self.row_bytes = 4 * dimensions
        self._rows = np.empty((rows, dimensions), np.float32)

    def reserve(self, rows: int) -> None:
        pass

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        self._rows[row] = vector

    def row(self, row: int) -> NDArray[np.float32]:
        held: NDArray[np.float32] = self._rows[row]
        return held

    def exact(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return self._rows.take(rows, axis=0)

    def scan(self, query: NDArray[np.float32]) -> Scan:
        return _Float32Scan(self._rows, query)


class _Float32Scan:
    most_rescored = 0
    estimates = None

    def __init__(self, rows: NDArray[np.float32], query: NDArray[np.float32]) -> None:
        self._rows = rows
        self._query = query

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        return cosine_scores(self._query, self._rows[start:stop])

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        return None


class Int8Matrix:
    """Each row as int8 times a scale of its own, with the length of what that leaves out; the row itself in a file.

    A cosine with a unit vector is off by no more than that length (Cauchy and Schwarz), so the rows that can be among
    the best are known, and scoring these alone from exact vectors gives exact results.
    """

    def __init__(self, rows: int, dimensions: int, folder: Path | None = None) -> None:
        """folder: of the file with the exact vectors; None takes the system's for temporary files."""
        self.row_bytes = dimensions + 8
        self._rows = np.empty((rows, dimensions), np.int8)
        self._scales = np.empty(rows, np.float32)
        self._errors = np.empty(rows, np.float32)
        self._file = MappedArray(folder, rows, (dimensions,), np.float32)
        self._file.read_at_random()

    def reserve(self, rows: int) -> None:
        self._file.reserve(rows)

    def set(self, row: int, vector: NDArray[np.float32]) -> None:
        self._file.write(row, vector)
        self._rows[row], self._scales[row] = _as_int8(vector)
        left_out = vector - self.row(row)
        self._errors[row] = math.sqrt(np.dot(left_out, left_out)) + _ROUNDING

    def row(self, row: int) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = self._rows[row] * self._scales[row]
        return scaled

    def exact(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._file.rows.take(rows, axis=0)
        return found

    def release(self) -> None:
        """See `MappedArray.release`."""
        self._file.release()

    def scan(self, query: NDArray[np.float32]) -> Scan:
        return _Int8Scan(self._rows, self._scales, self._errors, query)


class _Int8Scan:
    """The query is two int8 vectors, the second what the first leaves out: so its own error is next to nothing, and
    the products are whole numbers. Two passes cost a tenth of turning the rows to float32 (docs/decisions/008)."""

    most_rescored = MOST_RESCORED
    estimates = None

    def __init__(
        self,
        rows: NDArray[np.int8],
        scales: NDArray[np.float32],
        errors: NDArray[np.float32],
        query: NDArray[np.float32],
    ) -> None:
        self._rows, self._scales, self._errors = rows, scales, errors
        self._coarse, self._coarse_scale = _as_int8(query)
        left = query - self._coarse * self._coarse_scale
        self._fine, self._fine_scale = _as_int8(left)
        left -= self._fine * self._fine_scale
        self._error = np.float32(1.1 * math.sqrt(np.dot(left, left)))  # a row as int8 is at most a tenth longer than 1

    def scores(self, start: int, stop: int) -> NDArray[np.float32]:
        if start == stop:
            return np.empty(0, np.float32)
        rows = self._rows[start:stop]
        # At most 384 · 127², which float32 holds exactly. Not with `out`: each such call takes one reference to None
        # too many (simsimd 6.5.16), and Python before 3.12 crashes when the last is released.
        scores = np.array(simsimd.dot(rows, self._coarse, out_dtype="float32"))
        scores *= self._coarse_scale
        scores += np.asarray(simsimd.dot(rows, self._fine, out_dtype="float32")) * self._fine_scale
        scores *= self._scales[start:stop]
        return scores

    def errors(self, rows: NDArray[np.intp]) -> NDArray[np.float32] | None:
        errors: NDArray[np.float32] = self._errors[rows] + self._error
        return errors


def _as_int8(vector: NDArray[np.float32]) -> tuple[NDArray[np.int8], np.float32]:
    """Whole numbers from −127 to 127, and the scale that they are to be multiplied with."""
    scale = np.float32(np.abs(vector).max() / 127) or np.float32(1)  # 1 for zeros
    return np.rint(vector / scale).astype(np.int8), scale
