"""The sequence model's vectors of the catalogue's items. Used from the event-loop thread only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ITEM_BYTES = 264  # 128 numbers of half precision, a row and its version


class Kept(NamedTuple):
    """`vectors`: a copy, float32 [k, dimensions], with anything in the rows that are `missing` [k]."""

    vectors: NDArray[np.float32]
    missing: NDArray[np.bool_]


def rounded(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """As they are once they were kept: so that an answer does not depend on whether they were."""
    return vectors.astype(np.float16).astype(np.float32)


class ItemVectors:
    """Unit vectors of catalogue rows, each with the version of the row that it was computed from.

    A vector is there as long as its row's version is still that one, so nothing has to be done when content changes.
    With less room than rows, rows that are the same modulo `capacity` share a place, and the last one put has it.
    Memory: 2 · dimensions + 8 bytes a place, allocated by the system as they are first written. Half precision moves a
    cosine by less than 0.001, and both models have to fit.
    """

    def __init__(self, capacity: int, dimensions: int) -> None:
        self.dimensions = dimensions
        self._make(capacity)

    @property
    def capacity(self) -> int:
        """The most items whose vector is kept."""
        return len(self._row)

    def release(self) -> None:
        """Give the memory back. From then on every vector is missing, and what is put is not kept: a request that still
        uses the model computes its own."""
        self._make(0)

    def kept(self) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """The rows that have a vector, each once, and the versions that these are of."""
        places = np.flatnonzero(self._version)
        return self._row[places].astype(np.intp), self._version[places]

    def missing(self, rows: NDArray[np.intp], versions: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which of these rows, at these versions, have no vector: [k]."""
        if not self.capacity:
            return np.ones(len(rows), np.bool_)
        places = rows % self.capacity
        absent: NDArray[np.bool_] = (self._row[places] != rows) | (self._version[places] != versions)
        return absent

    def put(self, rows: NDArray[np.intp], versions: NDArray[np.uint32], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors [k, dimensions] computed from rows as they were at these versions, above 0."""
        if not self.capacity:
            return
        places = rows % self.capacity
        self._matrix[places] = vectors  # of two for one place the last, here and below
        self._row[places] = rows
        self._version[places] = versions

    def read(self, rows: NDArray[np.intp], versions: NDArray[np.uint32]) -> Kept:
        """The vectors of these rows at these versions; −1 among `rows` stands for an item without a row."""
        if not self.capacity:
            return Kept(np.zeros((len(rows), self.dimensions), np.float32), np.ones(len(rows), np.bool_))
        without = rows < 0
        own = np.where(without, 0, rows)
        return Kept(self._matrix[own % self.capacity].astype(np.float32), without | self.missing(own, versions))

    def _make(self, capacity: int) -> None:
        self._matrix = np.empty((capacity, self.dimensions), np.float16)
        self._row = np.zeros(capacity, np.int32)
        self._version = np.zeros(capacity, np.uint32)  # 0: none
