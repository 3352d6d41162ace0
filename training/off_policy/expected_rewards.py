"""A model of the rewards, for the doubly robust estimate: what an item at a position is expected to bring.

Least squares with a small penalty on the position, the item's own rate and the other ranking's score. Each ranking's
expectations come from a model of other users' rankings (cross-fitting, Chernozhukov et al. 2018), so that the estimate
stays right whatever the model is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.off_policy.rankings import Rankings

Floats = NDArray[np.float64]

_FOLDS = 5
_PENALTY = 1.0  # of each squared weight but the constant's; beside hundreds of rankings it is nothing
_PRIOR_SHOWN = 10.0  # an item's rate begins as the mean of all, as if shown this often


class Expected(NamedTuple):
    """shown: float64 [n, k], of what was shown. target: float64 [n], of all that the other ranking would show."""

    shown: Floats
    target: Floats


def expected_rewards(logged: Rankings) -> Expected:
    """0 beyond the end of a ranking."""
    _, user = np.unique(logged.users, return_inverse=True)
    fold = user % min(_FOLDS, int(user.max(initial=0)) + 1)
    items = int(max(logged.shown_item.max(initial=-1), logged.target_item.max(initial=-1))) + 1
    shown, target = np.zeros(logged.rewards.shape), np.zeros(logged.rewards.shape)
    for number in range(int(fold.max(initial=-1)) + 1):
        others, own = fold != number, fold == number
        if not others.any():
            break  # a single user: nothing is expected, and the estimate is that of the weights
        rates = _rates(logged, others, items)
        x = _features(logged.shown_item, logged.shown_score, rates)
        there = logged.there & others[:, np.newaxis]
        weights = _least_squares(x[there], logged.rewards[there])
        shown[own] = x[own] @ weights
        target[own] = _features(logged.target_item[own], logged.target_score[own], rates) @ weights
    return Expected(np.where(logged.there, shown, 0.0), np.where(logged.there, target, 0.0).sum(axis=1))


def _rates(logged: Rankings, of: NDArray[np.bool_], items: int) -> Floats:
    """Each item's mean reward where it was shown, drawn towards the mean of all, [items + 1]; the last is that mean."""
    there = logged.there & of[:, np.newaxis]
    item, reward = logged.shown_item[there], logged.rewards[there]
    mean = float(reward.mean()) if len(reward) else 0.0
    shown = np.bincount(item, minlength=items)
    summed = np.bincount(item, reward, minlength=items)
    return np.append((summed + _PRIOR_SHOWN * mean) / (shown + _PRIOR_SHOWN), mean)


def _features(item: NDArray[np.int32], score: Floats, rates: Floats) -> Floats:
    """[n, k, 5]; the item −1 has the rate of all."""
    rate = rates[item]
    place = np.broadcast_to(np.log1p(np.arange(item.shape[1])), item.shape)
    return np.stack([np.ones(item.shape), place, score, rate, rate * place], axis=-1)


def _least_squares(x: Floats, y: Floats) -> Floats:
    penalty = _PENALTY * np.eye(x.shape[1])
    penalty[0, 0] = 1e-9
    return np.linalg.solve(x.T @ x + penalty, x.T @ y).astype(np.float64)
