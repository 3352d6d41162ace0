"""Weights of lists of candidates: of the listwise loss (a softmax over the candidates, Cao et al. 2007), and fitted to
NDCG@10 from there. Most of that loss comes from targets that no weights bring among ten; NDCG does not count them.

The rank of a target is made smooth (ApproxNDCG: Qin, Liu, Li 2010): each candidate counts as the sigmoid of how far it
is ahead, as many times as it stands for others, and the gain fades around the tenth place instead of ending there.

z: float32 [queries, candidates, features], standardised, the target first, 0 where there is no candidate; log_weight as
in `Lists`. Weights are float64 [features].
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.evaluation import metrics

_K = 10
_STEEPNESS = 2.0  # of the sigmoid, on the listwise logits; 1 and 4 gave much the same
_FADING = 2.0  # places over which the gain fades
_PENALTY = 1e-3  # of the squared weights, or distance from the start; 1e-4 and 1e-2 gave the same or less
_STEPS = 60
_NEWTON_STEPS = 30
_SETTLED = 1e-7  # of the listwise loss
_LISTS_AT_ONCE = 64
_LEAST_SCALE = 0.1  # of scores beside which weights are fitted

Weights = NDArray[np.float64]
Mask = NDArray[np.bool_]


def better_of(z: NDArray[np.float32], log_weight: NDArray[np.float32], met: Mask, of_met: Mask) -> Weights:
    """Those of the listwise loss, moved to a higher NDCG in two steps: first the weights of any candidate, by lists
    whose target the user had not met, without the candidates that they had; then the weights of what they had met, by
    all lists, which places it among the rest. In one step the order of new items would be spent on the few that users
    return to.

    met: bool [queries, candidates]. of_met: bool [features], which weigh on met candidates alone. Lists are in the
    order of time. A step is kept where it does better on both halves of its lists, each fitted to the other (a gain on
    one alone may be of its time), and no worse on all lists.
    """
    half = len(z) // 2
    parts = (slice(None), slice(half), slice(half, None))  # the last two judge each other
    found = [listwise(z[part], log_weight[part]) for part in parts]
    among_new = np.where(met | met[:, :1], -np.inf, log_weight)
    for lists, free in ((among_new, ~of_met), (log_weight, of_met)):
        moved = [_direct(*_lists(z, lists, part), weights, free) for part, weights in zip(parts, found, strict=True)]
        of_step, of_all = (
            [
                float((ndcg(*some, moved[n]) - ndcg(*some, found[n])).sum())
                for n, some in ((1, _lists(z, judged, parts[2])), (2, _lists(z, judged, parts[1])))
            ]
            for judged in (lists, log_weight)
        )
        if min(of_step) > 0 and sum(of_all) >= 0:
            found = moved
    return found[0]


def beside(
    z: NDArray[np.float32], log_weight: NDArray[np.float32], scores: NDArray[np.float32]
) -> tuple[Weights, Weights]:
    """Weights of what is added to `scores` [queries, candidates]: of the listwise loss, and moved from there to a
    higher NDCG. Scores that were moved to a higher NDCG are no logarithms of probabilities: the loss reads them at the
    scale that fits best, or all of what is added would only correct that."""
    (scale,) = np.maximum(listwise(scores[..., np.newaxis], log_weight), _LEAST_SCALE)
    listed = np.append(listwise(z, log_weight + np.float32(scale) * scores) / scale, 1.0)
    free = np.arange(len(listed)) < z.shape[2]
    moved = _direct(np.concatenate([z, scores[..., np.newaxis]], axis=2), log_weight, listed, free)
    return listed[:-1], moved[:-1]


def _lists(
    z: NDArray[np.float32], log_weight: NDArray[np.float32], part: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Those of `part` that have a target."""
    there = np.isfinite(log_weight[part, 0])
    return (z[part], log_weight[part]) if there.all() else (z[part][there], log_weight[part][there])


def listwise(z: NDArray[np.float32], log_weight: NDArray[np.float32]) -> Weights:
    """Of the softmax over the candidates, by Newton's method: a tenth of the passes over the lists that gradients alone
    take."""
    weights = np.zeros(z.shape[2])
    for _ in range(_NEWTON_STEPS):
        found = _softmax(z, log_weight, weights)
        step = np.linalg.solve(found.curvature, found.gradient)
        if found.gradient @ step < 2 * _SETTLED:  # half of this is what the step gains
            break
        # The loss is convex, so a step that is short enough is better, as far as sums are exact
        while (
            _softmax(z, log_weight, weights - step, value_alone=True).value > found.value and np.abs(step).max() > 1e-6
        ):
            step = step / 2
        weights = weights - step
    return weights


class _Softmax(NamedTuple):
    """The listwise loss, its gradient [features] and second derivatives [features, features]."""

    value: float
    gradient: Weights
    curvature: Weights


def _softmax(
    z: NDArray[np.float32], log_weight: NDArray[np.float32], weights: Weights, *, value_alone: bool = False
) -> _Softmax:
    features = z.shape[2]
    value, gradient, curvature = 0.0, np.zeros(features), np.zeros((features, features))
    for start in range(0, len(z), _LISTS_AT_ONCE):
        some, log_weights = z[start : start + _LISTS_AT_ONCE], log_weight[start : start + _LISTS_AT_ONCE]
        flat = some.reshape(-1, features)
        scores = _scores(flat, weights, log_weights.shape) + log_weights
        top = scores.max(axis=1, keepdims=True)
        exponents = np.exp(scores - top)
        total = exponents.sum(axis=1, keepdims=True)
        value += float(((np.log(total) + top)[:, 0] - scores[:, 0]).sum(dtype=np.float64))
        if value_alone:
            continue
        share = exponents / total
        expected = np.matmul(share[:, np.newaxis], some)[:, 0]  # [queries, features]
        gradient += (expected - some[:, 0]).sum(axis=0, dtype=np.float64)
        curvature += (flat * share.reshape(-1, 1)).T @ flat - expected.T @ expected
    n = max(len(z), 1)
    return _Softmax(
        value / n + _PENALTY * float(weights @ weights),
        gradient / n + 2 * _PENALTY * weights,
        curvature / n + 2 * _PENALTY * np.eye(features),
    )


def _direct(z: NDArray[np.float32], log_weight: NDArray[np.float32], start: Weights, free: Mask) -> Weights:
    """Of a higher smooth NDCG@10 than `start`, near it; `free` [features] weights alone are moved."""
    if not len(z) or not free.any():
        return start
    whole = smooth_loss(z, log_weight, start)

    def loss(moved: Weights) -> tuple[float, Weights]:
        weights = start.copy()
        weights[free] = moved
        value, gradient = whole(weights)
        return value, gradient[free]

    found = start.copy()
    found[free] = minimize(loss, start[free], jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    return found


def smooth_loss(
    z: NDArray[np.float32], log_weight: NDArray[np.float32], start: Weights
) -> Callable[[Weights], tuple[float, Weights]]:
    """Of weights: minus the smooth NDCG@10 plus what the distance from `start` costs, and the gradient."""
    ahead = (z[:, 1:] - z[:, :1]).reshape(-1, z.shape[2])  # of the target
    times = np.exp(log_weight[:, 1:])

    def loss(weights: Weights) -> tuple[float, Weights]:
        above = _sigmoid(_scores(ahead, _STEEPNESS * weights, times.shape))
        rank = 1 + (times * above).sum(axis=1)
        within, discount = _sigmoid((_K + 0.5 - rank) / _FADING), np.log2(1 + rank)
        slope = -within * (1 - within) / _FADING / discount - within / discount**2 / ((1 + rank) * np.log(2))
        by_candidate = (slope / len(rank))[:, np.newaxis] * times * above * (1 - above)
        gradient = -_STEEPNESS * (by_candidate.ravel().astype(np.float32) @ ahead)
        moved = weights - start
        value = _PENALTY * moved @ moved - (within / discount).mean()
        return float(value), gradient + 2 * _PENALTY * moved

    return loss


def ndcg(z: NDArray[np.float32], log_weight: NDArray[np.float32], weights: Weights) -> NDArray[np.float64]:
    """Of each list, [queries], see `ndcg_of`."""
    return ndcg_of(_scores(z.reshape(-1, z.shape[2]), weights, log_weight.shape), log_weight)


def ndcg_of(scores: NDArray[np.float32], log_weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each list by the scores of its candidates, [queries]; ranks are estimated from what these stand for."""
    above = np.where(scores[:, 1:] > scores[:, :1], np.exp(log_weight[:, 1:]), 0).sum(axis=1)
    return metrics.ndcg(np.round(above).astype(np.int64), _K)


def _scores(flat: NDArray[np.float32], weights: Weights, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return (flat @ weights.astype(np.float32)).reshape(shape)


def _sigmoid(values: NDArray[np.floating]) -> NDArray[np.floating]:
    made: NDArray[np.floating] = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return made
