"""The sequence model's vectors of the catalogue's items. Used from the event-loop thread only."""

import numpy as np
from numpy.typing import NDArray

ITEM_BYTES = 260  # 128 numbers of half precision and a version


class ItemVectors:
    """Unit vectors of catalogue rows, each with the version of the row that it was computed from.

    A vector is there as long as its row's version is still that one, so nothing has to be told when content changes.
    Memory: 2 · dimensions + 4 bytes an item, handed out by the system as rows are first written. Half precision moves a
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

    def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """A copy, float32 [k, dimensions]; rows without a vector hold anything."""
        if not len(self._version):
            return np.zeros((len(rows), self.dimensions), np.float32)
        return self._matrix[rows].astype(np.float32)
