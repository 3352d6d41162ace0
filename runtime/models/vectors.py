"""What may be done to a finished vector: its bytes, and fewer of its dimensions."""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


def octets(vector: Vector) -> bytes:
    """The vector as little-endian float32."""
    return vector.astype("<f4", copy=False).tobytes()


def shortened(vector: Vector, dimensions: int) -> Vector:
    """The first `dimensions` numbers, brought back to unit length; the vector itself where that is all of them.

    Raises ValueError where they are all zero. A model that was not trained for it (Matryoshka representation learning,
    Kusupati et al. 2022) loses quality with every dimension that is left out.
    """
    if dimensions == len(vector):
        return vector
    start = vector[:dimensions].astype(np.float64)
    length = float(np.linalg.norm(start))
    if length == 0:
        raise ValueError(f"the first {dimensions} numbers of the vector are zero; ask for more dimensions")
    return (start / length).astype(np.float32)
