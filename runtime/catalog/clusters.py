"""Clusters of vectors, so that a search of very many scores the rows of the nearest ones alone.

An inverted file (IVF; Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011) without lists:
a row has the number of its cluster, one byte, and a search wants the rows of some clusters as it wants those of a
label. So nothing is moved when an item comes, changes or goes, and filters stay what they are.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CLUSTERS = 256
ROW_BYTES = 2  # the number of a row's cluster, and the next one while clusters are made

# Of so many rows or fewer that are wanted, all are scored: then nothing is missed.
LEAST_ROWS = 131_072
# Of more, those of clusters that are hardly further from the query than the nearest one (Chen and others, "SPANN:
# Highly-efficient billion-scale approximate nearest neighbor search", 2021, arXiv 2111.08566), between a sixteenth and
# a quarter of them: measured on a million (docs/decisions/027).
_FURTHER = 1.3
_FEWEST, _MOST = 16, 4
_LEAST_SCORED = 32_768

_SAMPLE = 16_384  # rows from which centroids are made
_ROUNDS = 6  # of k-means
_STEP = 512  # rows looked at together: about a millisecond


class Clusters:
    """Made from the one-bit codes of rows, which are in memory. Vectors are rotated as those are."""

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        """codes: [capacity, dimensions / 8], by row; the same array as long as this lives."""
        self._codes = codes
        self._now: _Clustering | None = None
        self._next: _Clustering | None = None
        self._changes = 0  # of rows, since the clusters were made
        self._made_of = 0  # rows

    @property
    def made(self) -> bool:
        """Whether there are any."""
        return self._now is not None

    def due(self, held: int) -> bool:
        """Whether it is time to make them, of so many rows that hold an item: there are none, or as many rows have
        changed since as they were made of."""
        return held > LEAST_ROWS and (self._now is None or self._changes > self._made_of)

    def set(self, row: int, rotated: NDArray[np.float32]) -> None:
        """A row now holds this vector."""
        self._changes += 1
        for one in (self._now, self._next):
            if one is not None:
                one.of_row[row] = (one.centroids @ rotated).argmax()

    def make(self, held: NDArray[np.bool_]) -> Iterator[None]:
        """Make clusters of the rows that hold an item, in steps of about a millisecond. Between them rows may change;
        until the end searches use the clusters that were there. held: by row, [capacity]; kept current."""
        rows = np.flatnonzero(held)
        sample = rows[:: 1 + len(rows) // _SAMPLE]
        self._changes, self._made_of = 0, len(rows)
        try:
            centroids = _decoded(self._codes[sample[np.linspace(0, len(sample) - 1, CLUSTERS, dtype=np.intp)]])
            for _ in range(_ROUNDS):
                sums = np.zeros_like(centroids)
                for start in range(0, len(sample), _STEP):
                    signs = _decoded(np.take(self._codes, sample[start : start + _STEP], axis=0))
                    nearest = (signs @ centroids.T).argmax(axis=1)
                    sums += (nearest == np.arange(CLUSTERS)[:, np.newaxis]).astype(np.float32) @ signs
                    yield
                lengths = np.linalg.norm(sums, axis=1, keepdims=True)
                np.divide(sums, lengths, out=centroids, where=lengths > 0)  # one without rows stays where it is
            self._next = _Clustering(centroids, np.zeros(len(self._codes), np.uint8))
            for start in range(0, len(held), _STEP):
                if held[start : start + _STEP].any():
                    self._next.take(self._codes, start, start + _STEP)
                    yield
            self._now = self._next
        finally:
            self._next = None

    def saved(self, held: NDArray[np.bool_]) -> tuple[bytes, bytes] | None:
        """The centroids, and the clusters of the first rows [n], 0 for one that is not `held`; None without any."""
        if self._now is None:
            return None
        return self._now.centroids.tobytes(), (self._now.of_row[: len(held)] * held).tobytes()

    def restore(self, centroids: bytes, of_row: bytes) -> None:
        """Take over what was saved. Raises ValueError where it is not of such rows."""
        found = np.frombuffer(centroids, np.float32).reshape(CLUSTERS, 8 * self._codes.shape[1]).copy()
        numbers = np.frombuffer(of_row, np.uint8)[: len(self._codes)]
        self._now = _Clustering(found, np.zeros(len(self._codes), np.uint8))
        self._now.of_row[: len(numbers)] = numbers
        self._changes, self._made_of = 0, len(numbers)

    def near(self, rotated: NDArray[np.float32], wanted: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
        """Of the rows `wanted` [n], bool, those of the clusters nearest to a query: at least `least`, and so many that
        all but a few of those that score best are among them. All where they are not many."""
        count = int(np.count_nonzero(wanted))
        enough = max(count // _FEWEST, _LEAST_SCORED, least)
        if self._now is None or count <= LEAST_ROWS or 2 * enough > count:
            return wanted
        distances = np.sqrt(np.maximum(2 - 2 * (self._now.centroids @ rotated), 0))
        nearest = np.argsort(distances, kind="stable")
        hardly_further = int(np.count_nonzero(distances <= _FURTHER * distances[nearest[0]]))
        taken = np.zeros(CLUSTERS, np.bool_)
        some, found = max(CLUSTERS * enough // count, min(hardly_further, CLUSTERS // _MOST)), wanted
        while some < CLUSTERS:
            taken[nearest[:some]] = True
            found = _looked_up(taken, self._now.of_row[: len(wanted)])
            found &= wanted
            if np.count_nonzero(found) >= enough:
                return found
            some = max(some + 1, some * 3 // 2)  # behind a filter of what is far from the query many hold nothing
        return wanted


class _Clustering:
    """`centroids`: unit vectors, float32 [CLUSTERS, dimensions]. `of_row` [capacity]: the number of the nearest one."""

    def __init__(self, centroids: NDArray[np.float32], of_row: NDArray[np.uint8]) -> None:
        self.centroids, self.of_row = centroids, of_row

    def take(self, codes: NDArray[np.uint8], start: int, stop: int) -> None:
        """Set the clusters of these rows from their codes."""
        self.of_row[start:stop] = (_decoded(codes[start:stop]) @ self.centroids.T).argmax(axis=1)


def _looked_up(table: NDArray[np.bool_], numbers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """table[numbers], in a quarter of the time and without numbers of 8 bytes each."""
    return np.frombuffer(bytearray(numbers).translate(table.tobytes()), np.bool_)


def _decoded(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The unit vectors that codes stand for, [n, dimensions]."""
    signs = np.unpackbits(codes, axis=1).astype(np.float32)
    signs *= np.float32(2 / np.sqrt(signs.shape[1]))
    signs -= np.float32(1 / np.sqrt(signs.shape[1]))
    return signs
