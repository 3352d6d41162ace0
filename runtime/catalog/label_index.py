"""Which rows of the catalogue carry a label: a tag, a vendor, a category."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

ROW_BYTES = 5  # where a row's entries are, and how many
ENTRY_BYTES = 12
MAX_LABELS = 255  # of one row


class LabelIndex:
    """The labels of each row, kept as 64-bit hashes beside the row they belong to, in the order they were set.

    Memory: 12 bytes a label and 5 a row; a dictionary of sets takes ten times as much. Finding a label is one pass over
    all entries (2 MB for 22,000 items of 12 labels), which costs less than scoring them. Nothing of the text is kept:
    two labels are the same when their hashes are, which for a million different labels happens once in 30 million
    catalogues. The arrays are reserved at once, but the system allocates their memory as it is written.
    """

    def __init__(self, rows: int, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._hashes = np.empty(capacity, np.int64)
        self._rows = np.empty(capacity, np.int32)  # −1: the entry is no longer used
        self._start = np.empty(rows, np.int32)
        self._count = np.zeros(rows, np.uint8)
        self._end = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of entries that were ever written since they were last packed."""
        return self._end * ENTRY_BYTES

    def count(self, row: int) -> int:
        return int(self._count[row])

    def fits(self, row: int | None, labels: int) -> bool:
        """Whether a row (None: a new one) can get this many labels in place of its own."""
        return self.held - (0 if row is None else self.count(row)) + labels <= self.capacity

    def set(self, row: int, labels: Collection[str]) -> None:
        """Replace the labels of a row; a repeated one counts once. Call `fits` before."""
        hashes = np.fromiter({hash(label) for label in labels}, np.int64)
        self.clear(row)
        if self._end + len(hashes) > self.capacity:
            self._pack()
        stop = self._end + len(hashes)
        if stop > self.capacity or len(hashes) > MAX_LABELS:
            raise RuntimeError(f"this is a bug: {len(hashes)} labels do not fit beside {self.held} of {self.capacity}")
        self._hashes[self._end : stop] = hashes
        self._rows[self._end : stop] = row
        self._start[row], self._count[row] = self._end, len(hashes)
        self._end = stop
        self.held += len(hashes)

    def clear(self, row: int) -> None:
        count = self.count(row)
        if count:
            start = int(self._start[row])
            self._rows[start : start + count] = -1
            self._count[row] = 0
            self.held -= count

    def rows_with(self, label: str) -> NDArray[np.int32]:
        """The rows that carry a label, in no order."""
        found: NDArray[np.int32] = self._rows[: self._end][self._hashes[: self._end] == hash(label)]
        return found[found >= 0]

    def _pack(self) -> None:
        """Take out the entries that are no longer used. A row's entries stay together, in their order."""
        used = self._rows[: self._end] >= 0
        rows = self._rows[: self._end][used]
        self._hashes[: self.held] = self._hashes[: self._end][used]
        self._rows[: self.held] = rows
        firsts, starts = np.unique(rows, return_index=True)
        self._start[firsts] = starts
        self._end = self.held
