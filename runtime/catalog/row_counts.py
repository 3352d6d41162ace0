"""By row of the catalogue: the decayed counts of who engaged with its item, as the store keeps them by id."""

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.mapped import Arrays, MappedArray
from runtime.personalization import popularity


class RowCounts:
    """Counts of `capacity` rows, in memory, or in a mapped file of which rows without counts are not read."""

    def __init__(self, capacity: int, arrays: Arrays) -> None:
        """Raises OSError."""
        self._array = arrays.new(capacity, (len(popularity.HALF_LIVES_HOURS),), np.float64)
        if isinstance(self._array, MappedArray):
            self._array.read_at_random()
        self._on_disk = arrays.on_disk
        self._counts = self._array.rows  # written as rows are given to items
        self._met = np.zeros(capacity, np.bool_)  # by row: whether it has counts

    def reserve(self, rows: int) -> None:
        """Have room for so many rows. Raises OSError."""
        self._array.reserve(rows)

    def clear(self, row: int) -> None:
        """A row gets another item."""
        if not self._on_disk:
            self._counts[row] = -np.inf
        self._met[row] = False

    def set(self, row: int, counts: popularity.Counts | None) -> None:
        """Replace the counts of a row; None: it has none."""
        self._counts[row] = -np.inf if counts is None else counts
        self._met[row] = counts is not None

    def of(self, rows: NDArray[np.integer]) -> popularity.Counts:
        """A copy of the counts, float64 [k, half-lives], of rows that hold an item; −1 has none."""
        found: popularity.Counts = np.full((len(rows), self._counts.shape[1]), -np.inf)
        met = np.flatnonzero(self._met[rows] & (rows >= 0))
        found[met] = self._counts[rows[met]]
        return found

    def between(self, start: int, stop: int) -> popularity.Counts:
        """The counts of the rows from `start` up to `stop`; those of free rows are some number."""
        if not self._on_disk:
            return self._counts[start:stop]
        found: popularity.Counts = self._counts[start:stop].copy()
        found[~self._met[start:stop]] = -np.inf
        return found

    def highest(self, held: NDArray[np.bool_], n: int, half_life: int) -> NDArray[np.intp]:
        """Of the first rows, those that are held, bool [rows]: see `Catalog.popular`."""
        counts = self._counts[: len(held), half_life]
        rows = np.flatnonzero(held & self._met[: len(held)])
        rows = rows[counts[rows] > -np.inf]
        if len(rows) > n:
            least = np.partition(counts[rows], len(rows) - n)[len(rows) - n]
            rows = rows[counts[rows] >= least]
        return rows[np.argsort(-counts[rows], kind="stable")[:n]]

    def met(self, rows: int) -> NDArray[np.bool_]:
        """Which of the first rows have counts, a copy: [rows]."""
        return self._met[:rows].copy()
