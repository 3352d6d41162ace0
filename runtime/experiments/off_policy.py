"""What another ranking would have got, estimated from rankings that were shown and the interactions that followed.

Importance weights (Horvitz and Thompson), self-normalised ones (Swaminathan and Joachims 2015) and the doubly robust
estimate (Dudík, Langford, Li, arXiv 1103.4601). For a ranking the weight of a position is the product over it and the
positions before it (reward interaction, McInerney et al., arXiv 2007.12986): exact where an item's reward depends on
what was placed before it and not on what follows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.experiments.sequences import Interval

Floats = NDArray[np.float64]

RESAMPLES = 1_000
_AT_ONCE = 1 << 22  # numbers drawn at once in a bootstrap


class Estimate(NamedTuple):
    """The mean reward of a ranking, its bootstrap interval, and how many independent users of the same weight would say
    as much ((Σw)²/Σw², Kish)."""

    value: float
    interval: Interval
    effective_users: float


def position_weights(target: Floats, logged: Floats) -> Floats:
    """target, logged: propensities [n, k] of the items shown, given those before them; weights [n, k]. Raises
    ValueError for an item that was shown with probability 0."""
    if not (logged > 0).all():
        raise ValueError("an item was shown that has a propensity of 0; the log is wrong about it")
    return np.cumprod(target / logged, axis=1, dtype=np.float64)


def importance(rewards: Floats, weights: Floats, users: NDArray[np.integer], *, seed: int, alpha: float) -> Estimate:
    """rewards, weights: [n] or [n, k]. users: [n], whose ranking it was; resampled as wholes."""
    gained = _rows(rewards * weights)
    return _bootstrap(gained, np.ones(len(gained)), _rows(weights), users, seed=seed, alpha=alpha)


def self_normalised(
    rewards: Floats, weights: Floats, users: NDArray[np.integer], *, seed: int, alpha: float
) -> Estimate:
    """As `importance`, over Σ weights instead of n: a little biased and far steadier. For [n, k], of each position."""
    if rewards.ndim == 2:
        weights = weights / np.maximum(weights.mean(axis=0), np.finfo(np.float64).tiny)
        return importance(rewards, weights, users, seed=seed, alpha=alpha)
    return _bootstrap(rewards * weights, weights, weights, users, seed=seed, alpha=alpha)


def doubly_robust(
    rewards: Floats,
    weights: Floats,
    expected: Floats,
    expected_of_target: Floats,
    users: NDArray[np.integer],
    *,
    seed: int,
    alpha: float,
) -> Estimate:
    """expected: what a model of the rewards predicts for what was shown, shaped as rewards. expected_of_target: [n],
    for what the other ranking shows. Right where either the weights or the model are."""
    gained = expected_of_target + _rows(weights * (rewards - expected))
    return _bootstrap(gained, np.ones(len(gained)), _rows(weights), users, seed=seed, alpha=alpha)


def _rows(values: Floats) -> Floats:
    return values if values.ndim == 1 else values.sum(axis=1)


def _bootstrap(
    gained: Floats, counted: Floats, weights: Floats, users: NDArray[np.integer], *, seed: int, alpha: float
) -> Estimate:
    """Σ gained / Σ counted, with a percentile interval over users drawn with replacement."""
    _, user = np.unique(users, return_inverse=True)
    gained, counted, weights = (np.bincount(user, values).astype(np.float64) for values in (gained, counted, weights))
    n, random = len(gained), np.random.default_rng(seed)
    step = max(1, _AT_ONCE // n)
    found = []
    for start in range(0, RESAMPLES, step):
        drawn = random.integers(n, size=(min(step, RESAMPLES - start), n))
        found.append(gained[drawn].sum(axis=1) / counted[drawn].sum(axis=1))
    lower, upper = np.quantile(np.concatenate(found), [alpha / 2, 1 - alpha / 2])
    effective = weights.sum() ** 2 / max((weights**2).sum(), np.finfo(np.float64).tiny)
    return Estimate(float(gained.sum() / counted.sum()), Interval(float(lower), float(upper)), float(effective))
