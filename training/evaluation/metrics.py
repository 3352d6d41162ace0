"""Ranking and classification figures as functions of arrays. Ranks are over the full catalogue, never a sample."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEVER = np.iinfo(np.int64).max  # rank of a target that was not among the candidates


def ranks(
    scores: NDArray[np.float32], targets: NDArray[np.integer], excluded: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Place of each row's target, 0 for the best: int64 [b]. scores [b, items], targets [b].

    Ties go to the lower item index, so a score that is the same for all ranks the catalogue in its order and gains
    nothing by it. `excluded` items [b, items] are not candidates; an excluded target has rank NEVER. A score that is
    not a number is an error, not a last place.
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
    """1 where the target is among the first k. With one target a row this is recall@k too."""
    return (ranks < k).astype(np.float64)


def ndcg(ranks: NDArray[np.int64], k: int) -> Floats:
    """1 / log2(rank + 2) within the first k: NDCG@k with one relevant item (Järvelin & Kekäläinen 2002)."""
    return np.where(ranks < k, 1 / np.log2(np.minimum(ranks, k) + 2.0), 0.0)


def reciprocal_rank(ranks: NDArray[np.int64]) -> Floats:
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
    return ActionFigures(
        accuracy=float((predicted == actions).mean()),
        macro_f1=macro_f1(predicted, actions, probabilities.shape[1]),
        log_loss=float(log_losses(probabilities, actions).mean()),
        calibration_error=calibration(probabilities, actions).error,
    )


def log_losses(probabilities: NDArray[np.floating], actions: NDArray[np.integer]) -> Floats:
    """−ln of the probability given to what happened, [n]; probabilities below 1e-7 count as 1e-7."""
    given = probabilities[np.arange(len(actions)), actions].astype(np.float64)
    return -np.log(given.clip(1e-7))


def macro_f1(predicted: NDArray[np.integer], actions: NDArray[np.integer], classes: int) -> float:
    """Mean F1 over the classes that occur among `actions`; a class never predicted counts 0."""
    table = np.bincount(actions.astype(np.int64) * classes + predicted, minlength=classes**2).reshape(classes, classes)
    right, actual, guessed = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    f1 = 2 * right / np.maximum(actual + guessed, 1)
    return float(f1[actual > 0].mean())


class Calibration(NamedTuple):
    """Of equal-width bins of stated probability, all classes together: mean stated, observed share, events [bins].
    `error` is the mean |stated − observed| weighted by events (static calibration error, Nixon et al. 2019)."""

    stated: Floats
    observed: Floats
    events: Floats
    error: float


def calibration(probabilities: NDArray[np.floating], actions: NDArray[np.integer], bins: int = 10) -> Calibration:
    stated = probabilities.astype(np.float64).ravel()
    happened = (np.arange(probabilities.shape[1]) == np.asarray(actions)[:, None]).ravel()
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    mean_stated = np.bincount(place, stated, minlength=bins) / np.maximum(count, 1)
    observed = np.bincount(place, happened, minlength=bins) / np.maximum(count, 1)
    return Calibration(
        mean_stated, observed, count, float((count * abs(mean_stated - observed)).sum() / max(count.sum(), 1))
    )


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative, ties half (Mann-Whitney). NaN where one kind is missing."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = (np.cumsum(counts) - (counts - 1) / 2)[group]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    return float((mean_rank[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))
