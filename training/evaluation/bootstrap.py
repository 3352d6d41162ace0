"""Bootstrap intervals by resampling users: events of one user are not independent, users are assumed to be."""

from collections.abc import Sequence
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


def interval_over_worlds(
    worlds: Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]], seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """Mean over all events of several worlds, resampling the worlds and, within each one drawn, its users. worlds:
    values [n] and users [n] of each.

    Worlds differ by more than their users do, so an interval over users alone is too narrow for a statement about
    worlds. NaN for no values; of one world this is `mean_interval`.
    """
    if len(worlds) == 1:
        return mean_interval(*worlds[0], seed, resamples)
    if not sum(len(values) for values, _ in worlds):
        return mean_interval(np.zeros(0), np.zeros(0, np.int64))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(worlds), np.full(len(worlds), 1 / len(worlds)), size=resamples)  # [resamples, worlds]
    totals = np.zeros((resamples, 2))
    for number, (values, users) in enumerate(worlds):
        _, rows = np.unique(users, return_inverse=True)
        both = np.stack([np.bincount(rows, values), np.bincount(rows)], axis=1).astype(np.float64)  # [users, 2]
        for resample, times in enumerate(drawn[:, number]):
            # A world drawn twice is two worlds, each with its own draw of users
            chosen = rng.integers(0, len(both), times * len(both))
            totals[resample] += both[chosen].sum(axis=0)
    low, high = np.percentile(totals[:, 0] / totals[:, 1], [2.5, 97.5])
    return Interval(float(np.concatenate([values for values, _ in worlds]).mean()), float(low), float(high))


def interval_over_seeds(values: NDArray[np.floating], users: NDArray[np.integer], seed: int = 0) -> Interval:
    """Mean of `values` [seeds, n] of several trainings on the same events, resampling trainings and users [n]. With two
    or three seeds it is rough: how much they differ is known from so many."""
    _, rows = np.unique(users, return_inverse=True)
    sums = np.stack([np.bincount(rows, np.asarray(one, np.float64)) for one in values], axis=1)  # [users, seeds]
    counts = np.bincount(rows).astype(np.float64)
    drawn = _draws(len(counts), seed, _RESAMPLES).astype(np.float64)
    means = (drawn @ sums) / (drawn @ counts)[:, None]  # [resamples, seeds]
    chosen = np.random.default_rng(seed).integers(len(values), size=means.shape)
    low, high = np.percentile(np.take_along_axis(means, chosen, axis=1).mean(axis=1), [2.5, 97.5])
    return Interval(float(np.mean(values)), float(low), float(high))


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
