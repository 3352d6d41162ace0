"""How an item of the training log is known again: by its id, and by a vector that still looks the same."""

import hashlib

import numpy as np
from numpy.typing import NDArray

_BITS = 64
SIGNATURE_TOLERANCE = 8  # bits; signatures of unrelated texts differ in about 32, rounding on another CPU in one or two


def id_hash(id: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")


def signatures(metadata: NDArray[np.float32]) -> NDArray[np.uint64]:
    """uint64 [k]: the signs of the first 64 numbers of each vector [k, 384]."""
    bits = np.packbits(metadata[:, :_BITS] > 0, axis=1, bitorder="little")
    return np.ascontiguousarray(bits).view("<u8")[:, 0]
