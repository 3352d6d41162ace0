"""Scores and order of candidates for a unit user vector."""

import numpy as np
from numpy.typing import NDArray

# From here on, taking the best k out first beats sorting all of them (20,000 scores: 0.3 ms against 1.6 ms).
_PARTITION_FROM = 1000

# A float32 vector shorter than this has lost its direction to denormal rounding.
_SHORTEST = 1e-30


def normalised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """L2-normalised copy of a vector [d] or of the rows of a matrix [n, d].

    Raises ValueError, naming the row, for a value that is not finite or a vector of length zero.
    """
    wide = np.atleast_2d(vectors).astype(np.float64)
    finite = np.isfinite(wide).all(axis=1)
    if not finite.all():
        raise ValueError(f"vector {int(np.argmin(finite))} has a value that is not a finite number")
    largest = np.abs(wide).max(axis=1, initial=0.0)
    if (largest < _SHORTEST).any():
        raise ValueError(f"vector {int(np.argmax(largest < _SHORTEST))} has length zero and no direction")
    wide /= largest[:, np.newaxis]  # so that squaring neither overflows nor vanishes
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(np.float32).reshape(vectors.shape)


def cosine_scores(user: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine of the user vector [d] with each candidate of [n, d]: float32 [n]. All are unit vectors.

    A candidate's score depends on it and the user alone. (BLAS's matrix product rounds a row by its position, so two
    equal candidates could differ in the last bit and their order would be an accident; a dot product a row does not.)
    """
    cosines: NDArray[np.float32] = np.vecdot(candidates, user)
    return cosines.clip(-1.0, 1.0)


def ranked(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Positions from best to worst; equal scores keep their order."""
    return np.argsort(-scores, kind="stable")


def top_k(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """The first k of `ranked(scores)`."""
    n = len(scores)
    if n < _PARTITION_FROM or k <= 0 or k * 4 > n:
        return ranked(scores)[: max(k, 0)]
    kth_best = np.partition(scores, n - k)[n - k]
    above = np.flatnonzero(scores > kth_best)
    tied = np.flatnonzero(scores == kth_best)[: k - len(above)]  # the earliest of those that share the last places
    best = np.sort(np.concatenate([above, tied]))
    return best[ranked(scores[best])]
