"""Bootstrap intervals by resampling users: events of one user are not independent, users are assumed to be."""

from functools import lru_cache
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


def mean_interval(
    values: NDArray[np.floating], users: NDArray[np.integer], seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """Mean of `values` [n] over events, with percentiles 2.5 and 97.5 of the resamples. users [n]: whose events they
    are.

    A resample draws as many users as there are, with replacement, and takes all their events. For a paired comparison
    pass the differences: both models are then measured on the same users. NaN for no values.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    _, rows = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(rows, values), np.bincount(rows).astype(np.float64)
    drawn = _draws(len(sums), seed, resamples)
    both = np.stack([sums, counts], axis=1)
    means = np.empty(resamples)
    for start in range(0, resamples, _CHUNK):
        totals = drawn[start : start + _CHUNK].astype(np.float64) @ both  # [chunk, 2]
        means[start : start + _CHUNK] = totals[:, 0] / totals[:, 1]
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))


def paired_interval(
    ours: NDArray[np.floating], theirs: NDArray[np.floating], users: NDArray[np.integer], seed: int = 0
) -> Interval:
    """Mean of ours − theirs on the same events, with its interval."""
    return mean_interval(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64), users, seed)


@lru_cache(maxsize=4)
def _draws(users: int, seed: int, resamples: int) -> NDArray[np.int16]:
    """How often each resample draws each user, [resamples, users]. Cached: most of the work, and the same for every
    figure about the same users."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, users), np.int16)
    for start in range(0, resamples, _CHUNK):
        size = min(_CHUNK, resamples - start)
        drawn[start : start + size] = rng.multinomial(users, np.full(users, 1 / users), size=size)
    return drawn
