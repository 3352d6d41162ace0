"""Intervals by resampling users: events of one user are not independent, users are taken to be."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2_000
_CHUNK = 200  # resamples at once: bounds the memory at chunk × users


class Interval(NamedTuple):
    """A mean over events and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        return self.low > 0


def mean_interval(
    values: NDArray[np.floating], users: NDArray[np.integer], seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """Mean of `values` [n] over events, `users` [n] saying whose they are; percentiles 2.5 and 97.5 of the resamples.

    A resample draws as many users as there are, with replacement, and takes all their events. For a paired comparison
    hand in the differences: both contenders then meet the same users.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    _, rows = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(rows, values), np.bincount(rows).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=size)  # [chunk, users]
        means[start : start + size] = (drawn @ sums) / (drawn @ counts)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def paired_interval(
    ours: NDArray[np.floating], theirs: NDArray[np.floating], users: NDArray[np.integer], seed: int = 0
) -> Interval:
    """Mean of ours − theirs on the same events, with its interval."""
    return mean_interval(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64), users, seed)
