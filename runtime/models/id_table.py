"""What training learned of single items, found by their ids."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.models.bundle import ID_TABLE, Bundle
from runtime.personalization.item_identity import SIGNATURE_TOLERANCE, id_hash, signatures
from runtime.personalization.ranking import normalised

Floats = NDArray[np.float32]


class IdTable:
    """What training learned of single items, memory-mapped: code (times its weight) and basis.

    An item is found by the hash of its id, and only while its vector still looks as it did in training: an id of
    another catalogue, or an item with a new text, is a new item.
    """

    def __init__(self, bundle: Bundle) -> None:
        table, self._codes, self._basis = (np.load(bundle.file(name), mmap_mode="r") for name in ID_TABLE)
        self._hashes, self._signatures = table[0], table[1]  # uint64 [items] each, ascending hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def places(self, ids: Sequence[str]) -> NDArray[np.intp]:
        """The row of each id in the table, [k]; −1 for one that was not in training."""
        if not len(self._hashes) or not len(ids):
            return np.full(len(ids), -1, np.intp)
        hashes = np.array([id_hash(id) for id in ids], np.uint64)
        rows = np.searchsorted(self._hashes, hashes).clip(max=len(self._hashes) - 1)
        return np.where(self._hashes[rows] == hashes, rows, -1)

    def learned(self, ids: Sequence[str], metadata: Floats) -> Floats:
        """The learned content vectors, unit float32 [k, 384], of items with these metadata vectors."""
        if not len(self._hashes) or not len(ids):
            return metadata
        rows = self.places(ids)
        apart = np.bitwise_count(self._signatures[rows] ^ signatures(metadata))
        known = np.flatnonzero((rows >= 0) & (apart <= SIGNATURE_TOLERANCE))
        if not len(known):
            return metadata
        learned = metadata.copy()
        learned[known] = normalised(metadata[known] + self._codes[rows[known]] @ self._basis)
        return learned
