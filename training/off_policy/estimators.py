"""Off-policy estimates from rankings that were shown and the interactions that followed, as functions of arrays.

Importance weights (Horvitz and Thompson; IPS), self-normalised ones (Swaminathan and Joachims 2015; SNIPS) and the
doubly robust estimate (Dudík, Langford, Li, arXiv 1103.4601). For a ranking the weight of a position is the product
over it and the positions before it (reward interaction, McInerney et al., arXiv 2007.12986): exact where an item's
reward depends on what was placed before it and not on what follows.

Every estimate is a sum of ratios of sums over users, so that one bootstrap serves all of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.experiments.sequences import Interval

Floats = NDArray[np.float64]

RESAMPLES = 1_000
_AT_ONCE = 1 << 22  # counts drawn at once in a bootstrap


class Ratios(NamedTuple):
    """An estimate Σⱼ sign[j] · Σ above[:, j] / Σ below[:, j]; above, below: float64 [n rankings, j]; sign: [j]."""

    above: Floats
    below: Floats
    sign: Floats

    def minus(self, other: "Ratios") -> "Ratios":
        """The difference of two estimates of the same rankings."""
        above, below = (np.hstack([mine, theirs]) for mine, theirs in zip(self[:2], other[:2], strict=True))
        return Ratios(above, below, np.concatenate([self.sign, -other.sign]))


class Estimate(NamedTuple):
    """`value` is NaN where nothing that the other ranking would show was shown."""

    value: float
    interval: Interval


def position_weights(target: Floats, logged: Floats) -> Floats:
    """target, logged: propensities [n, k] of the items shown, given those before them; weights [n, k]. Raises
    ValueError for an item that was shown with probability 0."""
    if not (logged > 0).all():
        raise ValueError("an item was shown that has a propensity of 0; the log is wrong about it")
    return np.cumprod(target / logged, axis=1, dtype=np.float64)


def effective_users(weights: Floats, users: NDArray[np.integer]) -> float:
    """How many users of the same weight would say as much: (Σw)² / Σw² (Kish). weights: [n] or [n, k], added up."""
    _, user = np.unique(users, return_inverse=True)
    summed = np.bincount(user, _columns(weights).sum(axis=1))
    return float(summed.sum() ** 2 / max((summed**2).sum(), np.finfo(np.float64).tiny))


def importance(rewards: Floats, weights: Floats) -> Ratios:
    """The mean of Σ weight · reward of a ranking. rewards, weights: [n], or [n, k] by position."""
    return mean(_columns(rewards * weights).sum(axis=1))


def self_normalised(rewards: Floats, weights: Floats) -> Ratios:
    """As `importance`, at each position over Σ weights instead of n: a little biased and far steadier."""
    weights = _columns(weights)
    return Ratios(_columns(rewards) * weights, weights, np.ones(weights.shape[1]))


def doubly_robust(rewards: Floats, weights: Floats, expected: Floats, expected_of_target: Floats) -> Ratios:
    """expected: what a model of the rewards predicts for what was shown, shaped as rewards. expected_of_target: [n],
    for what the other ranking shows. Right where either the weights or the model are."""
    return mean(expected_of_target + _columns(weights * (rewards - expected)).sum(axis=1))


def mean(values: Floats) -> Ratios:
    """The plain mean of values [n]."""
    return Ratios(values[:, np.newaxis], np.ones((len(values), 1)), np.ones(1))


def estimate(
    ratios: Ratios, users: NDArray[np.integer], *, seed: int, alpha: float, resamples: int = RESAMPLES
) -> Estimate:
    """See `estimate_all`."""
    (found,) = estimate_all([ratios], users, seed=seed, alpha=alpha, resamples=resamples)
    return found


def estimate_all(
    ratios: Sequence[Ratios], users: NDArray[np.integer], *, seed: int, alpha: float, resamples: int = RESAMPLES
) -> list[Estimate]:
    """The estimates with their studentised bootstrap intervals (Efron and Tibshirani 1993, 12.5) of coverage 1 − alpha.

    users: [n], whose ranking it was. A resample has each user a Poisson number of times, the same for every estimate
    (Chamandy, Muralidharan, Najmi, Naidu 2012). Standard errors are by linearisation. The plain percentile interval
    would be too short: a few large weights make the estimates skewed (docs/decisions/022).
    """
    _, user = np.unique(users, return_inverse=True)
    summed = [_UserSums.of(one, user) for one in ratios]
    found: list[list[Floats]] = [[] for _ in ratios]
    n, random = int(user.max(initial=-1)) + 1, np.random.default_rng(seed)
    step = max(1, _AT_ONCE // n)
    for start in range(0, resamples, step):
        drawn = random.poisson(1.0, size=(min(step, resamples - start), n)).astype(np.float64)
        for one, studentised in zip(summed, found, strict=True):
            studentised.append(one.studentised(drawn))
    return [one.with_interval(np.concatenate(all), alpha) for one, all in zip(summed, found, strict=True)]


class _UserSums(NamedTuple):
    """An estimate and its standard error. sums: float64 [users, 2j], of above and below. squares: [users, 2j · 2j]."""

    sign: Floats
    sums: Floats
    squares: Floats
    value: Floats
    error: Floats

    @classmethod
    def of(cls, ratios: Ratios, user: NDArray[np.intp]) -> "_UserSums":
        columns = np.hstack([ratios.above, ratios.below]).astype(np.float64)
        sums: Floats = np.stack([np.bincount(user, column).astype(np.float64) for column in columns.T], axis=1)
        squares = (sums[:, :, np.newaxis] * sums[:, np.newaxis, :]).reshape(len(sums), -1)
        return cls(ratios.sign, sums, squares, *_value_and_error(sums.sum(axis=0), sums.T @ sums, ratios.sign))

    def studentised(self, drawn: Floats) -> Floats:
        """drawn: how often each resample has each user, [resamples, users]."""
        width = self.sums.shape[1]
        moments = (drawn @ self.squares).reshape(len(drawn), width, width)
        values, errors = _value_and_error(drawn @ self.sums, moments, self.sign)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (values - self.value) / errors

    def with_interval(self, studentised: Floats, alpha: float) -> Estimate:
        value = float(self.value)
        if not np.isfinite(value):
            return Estimate(float("nan"), Interval(-np.inf, np.inf))
        studentised = studentised[np.isfinite(studentised)]
        if not len(studentised):  # all users are alike
            return Estimate(value, Interval(value, value))
        low, high = np.quantile(studentised, [alpha / 2, 1 - alpha / 2])
        return Estimate(value, Interval(float(value - high * self.error), float(value - low * self.error)))


def _value_and_error(sums: Floats, squares: Floats, sign: Floats) -> tuple[Floats, Floats]:
    """sums: [..., 2j] of above and below; squares: [..., 2j, 2j], Σ of their products over users. Value and standard
    error [...]."""
    above, below = np.split(sums, 2, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = above / below
        gradient = np.concatenate([sign / below, -sign * ratio / below], axis=-1)
        variance = np.einsum("...i,...ij,...j->...", gradient, squares, gradient)
        return (sign * ratio).sum(axis=-1), np.sqrt(variance.clip(min=0.0))


def _columns(values: Floats) -> Floats:
    return values[:, np.newaxis] if values.ndim == 1 else values
