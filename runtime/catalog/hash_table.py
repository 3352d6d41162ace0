"""Rows by the 64-bit hashes of their ids: an open table with linear probing."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_DELETED = 0xFFFFFFFF
_SLOTS_PER_ROW = 2  # at least


class HashTable:
    """8 to 16 bytes a row. Many hashes are looked for at once: then the processor waits for many places of the memory
    together, and for those of a dictionary one after the other.

    Several rows can have the same hash; whoever may add such rows compares what the hash was made of.
    """

    def __init__(self, capacity: int, hashes: NDArray[np.uint64]) -> None:
        """hashes: by row, [capacity]. That of a row is set before `add`, and stays until `remove`."""
        self._slots = np.zeros(1 << max(4, (_SLOTS_PER_ROW * capacity - 1).bit_length()), np.uint32)  # row + 1; 0: none
        self._last = len(self._slots) - 1
        self._hashes = hashes
        self._used = 0  # slots that are not 0
        # Of both arrays, where one place is read: in a third of the time.
        self._slot, self._hash = self._slots.data, hashes.data

    def rows(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """A row of each hash, −1 where there is none: [n]."""
        found = np.full(len(hashes), -1, np.intp)
        left, slots = np.arange(len(hashes)), self._first(hashes)
        while len(left):
            entries = self._slots[slots]
            row = entries.astype(np.intp) - 1
            row[entries == _DELETED] = -1
            here = (self._hashes[row] == hashes[left]) & (row >= 0)
            found[left[here]] = row[here]
            on = ~here & (entries != 0)
            left, slots = left[on], (slots[on] + 1) & self._last
        return found

    def rows_of(self, hash: int) -> Iterator[int]:
        """All rows of one hash."""
        slot = hash & self._last
        while entry := self._slot[slot]:
            if entry != _DELETED and self._hash[entry - 1] == hash:
                yield entry - 1
            slot = (slot + 1) & self._last

    def add(self, row: int) -> None:
        """A row that is not here."""
        if 4 * self._used >= 3 * len(self._slots):  # of deleted ones: the rows fill half at the most
            self.build(self._slots[(self._slots != 0) & (self._slots != _DELETED)].astype(np.intp) - 1)
        slot = self._hash[row] & self._last
        while self._slot[slot] not in (0, _DELETED):
            slot = (slot + 1) & self._last
        self._used += self._slot[slot] == 0
        self._slot[slot] = row + 1

    def remove(self, row: int) -> None:
        """A row that was added."""
        slot = self._hash[row] & self._last
        while self._slot[slot] != row + 1:
            slot = (slot + 1) & self._last
        self._slot[slot] = _DELETED

    def build(self, rows: NDArray[np.intp]) -> None:
        """Anew, of these rows alone."""
        self._slots[:] = 0
        self._used = len(rows)
        left = rows.astype(np.uint32)
        slots = self._first(self._hashes[left])
        while len(left):  # those that get the slot they are at, until all have one
            free = self._slots[slots] == 0
            self._slots[slots[free]] = left[free] + 1
            on = self._slots[slots] != left + 1
            left, slots = left[on], (slots[on] + 1) & self._last

    def _first(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        return (hashes & np.uint64(self._last)).astype(np.intp)
