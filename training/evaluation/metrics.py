"""Ranking and classification metrics as functions of arrays. Ranks are over the full catalogue, never a sample."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

Floats = NDArray[np.float64]
NEVER = np.iinfo(np.int64).max  # rank of a target that is not among the candidates


def ranks(
    scores: NDArray[np.float32], targets: NDArray[np.integer], excluded: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Rank of each row's target, 0 for the best: int64 [b]. scores [b, items], targets [b].

    Ties go to the lower item index, so constant scores rank the catalogue in its own order and gain nothing.
    `excluded` items [b, items] are not candidates; an excluded target has rank NEVER. Raises ValueError for NaN scores.
    """
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).any(axis=1).sum())} of {len(scores)} rows have scores that are NaN")
    own = np.take_along_axis(scores, np.asarray(targets)[:, None], axis=1)  # [b, 1]
    ahead = scores > own
    ahead |= (scores == own) & (np.arange(scores.shape[1]) < np.asarray(targets)[:, None])
    if excluded is None:
        return ahead.sum(axis=1, dtype=np.int64)
    ahead &= ~excluded
    lost = np.take_along_axis(excluded, np.asarray(targets)[:, None], axis=1)[:, 0]
    return np.where(lost, NEVER, ahead.sum(axis=1, dtype=np.int64))


def hit_rate(ranks: NDArray[np.int64], k: int) -> Floats:
    """1 where the target is among the first k. With one target per query this equals recall@k."""
    return (ranks < k).astype(np.float64)


def ndcg(ranks: NDArray[np.int64], k: int) -> Floats:
    """1 / log2(rank + 2) within the first k: NDCG@k with one relevant item (Järvelin & Kekäläinen 2002)."""
    return np.where(ranks < k, 1 / np.log2(np.minimum(ranks, k) + 2.0), 0.0)


def reciprocal_rank(ranks: NDArray[np.int64]) -> Floats:
    """1 / (rank + 1), 0 for NEVER."""
    return np.where(ranks == NEVER, 0.0, 1 / (np.minimum(ranks, NEVER - 1) + 1.0))


class ActionFigures(NamedTuple):
    """accuracy and macro_f1 in 0 … 1, log_loss in nats, calibration_error: see `calibration`."""

    accuracy: float
    macro_f1: float
    log_loss: float
    calibration_error: float


def action_figures(probabilities: NDArray[np.floating], actions: NDArray[np.integer]) -> ActionFigures:
    """probabilities [n, classes], rows summing to one; actions [n]. Macro-F1 is over the classes that occur."""
    predicted = probabilities.argmax(axis=1)
    f1 = f1_score(actions, predicted, labels=np.unique(actions), average="macro", zero_division=0)
    return ActionFigures(
        accuracy=float((predicted == actions).mean()),
        macro_f1=float(f1),
        log_loss=float(log_losses(probabilities, actions).mean()),
        calibration_error=calibration(probabilities, actions).error,
    )


def log_losses(probabilities: NDArray[np.floating], actions: NDArray[np.integer]) -> Floats:
    """−ln of the probability of each observed action, [n]; probabilities below 1e-7 count as 1e-7.

    One value per event, which paired intervals need; scikit-learn's `log_loss` is their mean.
    """
    given = probabilities[np.arange(len(actions)), actions].astype(np.float64)
    return -np.log(given.clip(1e-7))


class Calibration(NamedTuple):
    """Reliability over equal-width bins of the predicted probability, all classes together.

    predicted (mean), observed (share) and events, each [bins]; error: mean |predicted − observed| weighted by events
    (static calibration error, Nixon et al. 2019).
    """

    predicted: Floats
    observed: Floats
    events: Floats
    error: float


def calibration(probabilities: NDArray[np.floating], actions: NDArray[np.integer], bins: int = 10) -> Calibration:
    """probabilities [n, classes], actions [n]."""
    predicted = probabilities.astype(np.float64).ravel()
    happened = (np.arange(probabilities.shape[1]) == np.asarray(actions)[:, None]).ravel()
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    mean_predicted = np.bincount(place, predicted, minlength=bins) / np.maximum(count, 1)
    observed = np.bincount(place, happened, minlength=bins) / np.maximum(count, 1)
    error = (count * abs(mean_predicted - observed)).sum() / max(count.sum(), 1)
    return Calibration(mean_predicted, observed, count, float(error))


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; NaN where only one class occurs."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, scores))
