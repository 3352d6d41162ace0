"""Weights of lists of candidates: of the listwise loss (a softmax over the candidates, Cao et al. 2007), and fitted to
NDCG@10 from there. Most of that loss comes from targets that no weights bring among ten; NDCG does not count them.

The rank of a target is made smooth (ApproxNDCG: Qin, Liu, Li 2010): each candidate counts as the sigmoid of how far it
is ahead, as many times as it stands for others, and the gain fades around the tenth place instead of ending there.

z: float32 [queries, candidates, features], standardised, the target first, 0 where there is no candidate; log_weight as
in `Lists`. Weights are float64 [features].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from training.evaluation import metrics

_K = 10
_STEEPNESS = 2.0  # of the sigmoid, on the listwise logits; 1 and 4 gave much the same
_FADING = 2.0  # places over which the gain fades
_PENALTY = 1e-3  # of the squared weights, or distance from the start; 1e-4 and 1e-2 gave the same or less
_STEPS = 60

Weights = NDArray[np.float64]


def better_of(z: NDArray[np.float32], log_weight: NDArray[np.float32]) -> Weights:
    """Those fitted to NDCG from those of the listwise loss, where that does better on both halves of the lists, each
    time fitted to the other half; else those of the listwise loss. Lists are in the order of time, so the halves are
    what came before and what came after: a gain on one alone may be of its time."""
    first = np.arange(len(z)) < len(z) // 2
    gained = []
    for fitted in (first, ~first):
        start = listwise(z[fitted], log_weight[fitted])
        direct = _direct(z[fitted], log_weight[fitted], start)
        with_direct, with_start = (ndcg(z[~fitted], log_weight[~fitted], weights) for weights in (direct, start))
        gained.append(float(with_direct.sum() - with_start.sum()))
    start = listwise(z, log_weight)
    return _direct(z, log_weight, start) if min(gained) > 0 else start


def listwise(z: NDArray[np.float32], log_weight: NDArray[np.float32]) -> Weights:
    """Of the softmax over the candidates."""
    flat = z.reshape(-1, z.shape[2])

    def loss(weights: Weights) -> tuple[float, Weights]:
        scores = _scores(flat, weights, log_weight.shape) + log_weight
        top = scores.max(axis=1, keepdims=True)
        exponents = np.exp(scores - top)
        total = exponents.sum(axis=1, keepdims=True)
        missed = exponents / total
        missed[:, 0] -= 1
        value = (np.log(total) + top)[:, 0] - scores[:, 0]
        gradient = missed.ravel() @ flat / len(scores)
        return float(value.mean() + _PENALTY * weights @ weights), gradient + 2 * _PENALTY * weights

    found: Weights = minimize(loss, np.zeros(z.shape[2]), jac=True, method="L-BFGS-B").x
    return found


def _direct(z: NDArray[np.float32], log_weight: NDArray[np.float32], start: Weights) -> Weights:
    """Of a higher smooth NDCG@10 than `start`, near it."""
    loss = smooth_loss(z, log_weight, start)
    found: Weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
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
    """Of each list, [queries]; ranks are estimated from what the candidates stand for."""
    scores = _scores(z.reshape(-1, z.shape[2]), weights, log_weight.shape)
    above = np.where(scores[:, 1:] > scores[:, :1], np.exp(log_weight[:, 1:]), 0).sum(axis=1)
    return metrics.ndcg(np.round(above).astype(np.int64), _K)


def _scores(flat: NDArray[np.float32], weights: Weights, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return (flat @ weights.astype(np.float32)).reshape(shape)


def _sigmoid(values: NDArray[np.floating]) -> NDArray[np.floating]:
    made: NDArray[np.floating] = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return made
