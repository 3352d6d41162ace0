"""Vectors of texts seen lately. Exact, because a text's vector depends on its token ids and the bundle alone."""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

# Beside the ids and the vector: two array or bytes objects, the dictionary's entry and its links.
_ENTRY_BYTES = 400


class VectorCache:
    """Least recently used vectors of one bundle, by token ids, in at most `max_bytes`. Event-loop thread only.

    A cache belongs to the encoder of one bundle and is made anew with it, so the bundle's digest is not in the key.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._vectors: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, ids: NDArray[np.int32]) -> NDArray[np.float32] | None:
        """The read-only vector of these token ids, now the most recent one; counts a hit or a miss."""
        key = ids.tobytes()
        vector = self._vectors.get(key)
        if vector is None:
            self.misses += 1
            return None
        self.hits += 1
        self._vectors.move_to_end(key)
        return vector

    def put(self, ids: NDArray[np.int32], vector: NDArray[np.float32]) -> None:
        """Keep a vector, dropping the least recent ones that no longer fit. One larger than the cache is not kept."""
        key = ids.tobytes()
        size = _size(key, vector)
        if key in self._vectors or size > self.max_bytes:
            return
        while self.bytes + size > self.max_bytes:
            old_key, old = self._vectors.popitem(last=False)
            self.bytes -= _size(old_key, old)
        vector.flags.writeable = False
        self._vectors[key] = vector
        self.bytes += size

    def evict(self, ids: NDArray[np.int32]) -> None:
        """Drop the vector of these token ids, if it is here."""
        key = ids.tobytes()
        if (vector := self._vectors.pop(key, None)) is not None:
            self.bytes -= _size(key, vector)


def _size(key: bytes, vector: NDArray[np.float32]) -> int:
    return len(key) + vector.nbytes + _ENTRY_BYTES
