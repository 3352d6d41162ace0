"""Of each row of a saved catalogue: which change it is of, and checksums of what the files hold of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.checksums import Checksum
from runtime.catalog.mapped import Arrays

_STEP = 1 << 16  # rows looked at together
_VECTORS = 256  # likewise


class RowSeals:
    """`changes` [capacity]: of the database, 0 for a row that was never used. `vector_sums`, `label_sums`: checksums of
    the vector and of the labels; a third one covers these and all else.

    `unverified` [capacity]: rows of an earlier process whose vectors were not compared with their checksums yet.
    """

    def __init__(self, capacity: int, dimensions: int, arrays: Arrays) -> None:
        """Raises OSError."""
        self._arrays = [
            arrays.mapped(capacity, (), dtype, name)
            for name, dtype in (
                ("changes", np.uint64), ("vector-sums", np.uint32), ("label-sums", np.uint32), ("sums", np.uint32)
            )
        ]  # fmt: skip
        self.changes, self.vector_sums, self.label_sums, self._sums = (one.rows for one in self._arrays)
        self.unverified = np.zeros(capacity, np.bool_)
        self._of_vector = Checksum(dimensions)

    def cover(self, parts: Sequence[NDArray[np.generic]]) -> None:
        """parts: arrays by row, of 4 bytes or a multiple, that the third checksum covers beside those here."""
        self._parts = [*parts, self.changes, self.vector_sums, self.label_sums]
        words = sum(one[:1].nbytes // 4 for one in self._parts)
        self._of_row = Checksum(words)

    def reserve(self, rows: int) -> None:
        """Raises OSError."""
        for one in self._arrays:
            one.reserve(rows)

    def begin(self, row: int, change: int) -> None:
        """Before anything of a row changes, so that one that is half written is known."""
        self.changes[row] = change
        self.unverified[row] = False

    def end(self, row: int, vector: NDArray[np.float32], label_sum: int) -> None:
        """After a row has changed."""
        self.vector_sums[row] = self.of_vectors(vector[np.newaxis])[0]
        self.label_sums[row] = label_sum
        self._sums[row] = self._of_row.of(self._words(row, row + 1))[0]

    def of_vectors(self, vectors: NDArray[np.float32]) -> NDArray[np.uint32]:
        """Of float32 [k, dimensions]: [k]."""
        words = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
        found = np.empty(len(words), np.uint32)
        for start in range(0, len(words), _VECTORS):  # each word takes 8 bytes meanwhile
            found[start : start + _VECTORS] = self._of_vector.of(words[start : start + _VECTORS])
        return found

    def wrong(self, rows: int) -> NDArray[np.bool_]:
        """Which of the first rows are not as they were sealed; rows that were never used are. [rows]"""
        found = np.zeros(rows, np.bool_)
        for start in range(0, rows, _STEP):
            stop = min(start + _STEP, rows)
            words = self._words(start, stop)
            found[start:stop] = (self._of_row.of(words) != self._sums[start:stop]) & words.any(axis=1)
        return found

    def _words(self, start: int, stop: int) -> NDArray[np.uint32]:
        parts = [np.ascontiguousarray(one[start:stop]).view(np.uint32) for one in self._parts]
        return np.concatenate([one.reshape(stop - start, -1) for one in parts], axis=1)
