"""How much each past interaction gave to a candidate's score.

The score is the cosine (Σ wᵢ·eᵢ)·c / ‖Σ wᵢ·eᵢ‖: a sum over the interactions, whose i-th part wᵢ·(eᵢ·c) / ‖Σ wᵢ·eᵢ‖ is
what this one contributed. The parts of all interactions add up to the score.
"""

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.actions import MICROSECONDS_PER_DAY
from runtime.personalization.user_vector import Sums


def contributions(
    strengths: NDArray[np.integer],
    times_us: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    candidates: NDArray[np.float32],
    sums: Sums,
    *,
    decay_per_day: float,
) -> NDArray[np.float64]:
    """Of each interaction (strengths, times_us [n], embeddings [n, d]) to each candidate's score ([m, d]): [m, n].

    `sums` are those of the whole history that the interactions are from.
    """
    age_days = (sums.reference_us - times_us) / MICROSECONDS_PER_DAY
    # A history that grew since the sums were read may hold a later event: it counts like the latest one.
    weights = strengths * np.exp(-decay_per_day * age_days.clip(min=0))  # [n]
    return (candidates @ embeddings.T) * (weights / float(np.linalg.norm(sums.weighted)))


class Largest:
    """The k largest positive values a row, [rows, k], out of matrices that come one after the other."""

    def __init__(self, rows: int, k: int) -> None:
        self.values = np.zeros((rows, k))
        self.keys = np.full((rows, k), -1, np.int64)  # −1: fewer than k were positive
        self._k = k

    def add(self, values: NDArray[np.float64], keys: NDArray[np.int64]) -> None:
        """values [rows, n]; keys [n] name its columns. Of equals the earlier one stays ahead."""
        values = np.concatenate([self.values, values], axis=1)
        keys = np.concatenate([self.keys, np.broadcast_to(keys, (len(values), len(keys)))], axis=1)
        best = np.argsort(-values, axis=1, kind="stable")[:, : self._k]
        self.values = np.take_along_axis(values, best, axis=1)
        self.keys = np.take_along_axis(keys, best, axis=1)
