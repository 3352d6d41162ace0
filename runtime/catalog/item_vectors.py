"""The sequence model's vectors of the catalogue's items. Used from the event-loop thread only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ITEM_BYTES = 260  # 128 numbers of half precision and a version


class Kept(NamedTuple):
    """`vectors`: a copy, float32 [k, dimensions], with anything in the rows that are `missing` [k]."""

    vectors: NDArray[np.float32]
    missing: NDArray[np.bool_]


class ItemVectors:
    """Unit vectors of catalogue rows, each with the version of the row that it was computed from.

    A vector is there as long as its row's version is still that one, so nothing has to be done when content changes.
    Memory: 2 · dimensions + 4 bytes an item, allocated by the system as rows are first written. Half precision moves a
    cosine by less than 0.001, and both models have to fit.
    """

    def __init__(self, capacity: int, dimensions: int) -> None:
        self.dimensions = dimensions
        self._matrix = np.empty((capacity, dimensions), np.float16)
        self._version = np.zeros(capacity, np.uint32)

    def release(self) -> None:
        """Give the memory back. From then on every vector is missing, and what is put is not kept: a request that still
        uses the model computes its own."""
        self._matrix = np.empty((0, self.dimensions), np.float16)
        self._version = np.empty(0, np.uint32)

    def missing(self, rows: NDArray[np.intp], versions: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Which of these rows, at these versions, have no vector: [k]."""
        if not len(self._version):
            return np.ones(len(rows), np.bool_)
        absent: NDArray[np.bool_] = self._version[rows] != versions
        return absent

    def put(self, rows: NDArray[np.intp], versions: NDArray[np.uint32], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors [k, dimensions] computed from rows as they were at these versions."""
        if len(self._version):
            self._matrix[rows] = vectors
            self._version[rows] = versions

    def read(self, rows: NDArray[np.intp], versions: NDArray[np.uint32]) -> Kept:
        """The vectors of these rows at these versions; −1 among `rows` stands for an item without a row."""
        if not len(self._version):
            return Kept(np.zeros((len(rows), self.dimensions), np.float32), np.ones(len(rows), np.bool_))
        without = rows < 0
        if not without.any():
            return Kept(self._matrix[rows].astype(np.float32), self.missing(rows, versions))
        own = np.where(without, 0, rows)
        return Kept(self._matrix[own].astype(np.float32), without | self.missing(own, versions))
