"""A linear probe: how much of the true taste of simulated users a user vector holds."""

import numpy as np
from numpy.typing import NDArray

from training.evaluation.protocol import HasUserVectors
from training.evaluation.queries import EvaluationQueries

_FOLDS = 5
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def probe_cosine(recommender: HasUserVectors, queries: EvaluationQueries, taste: NDArray[np.float64]) -> float:
    """Mean cosine between the true taste [users, t] and a ridge regression's prediction of it from the user vector.

    One vector per user, from the history before the user's last query; predictions are out of fold, with the best of a
    few penalties.
    """
    last = np.r_[queries.ranking.user[1:] != queries.ranking.user[:-1], True]
    latest = queries.ranking.take(np.flatnonzero(last))
    vectors = recommender.user_vectors(latest.histories, latest.now_us, latest.device).astype(np.float64)
    return linear_probe(vectors, taste[latest.user])


def linear_probe(vectors: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Mean out-of-fold cosine of ridge predictions of `truth` [n, t] from `vectors` [n, d]."""
    fold = np.random.default_rng(0).permutation(len(vectors)) % _FOLDS
    predicted = np.zeros((len(_PENALTIES), *truth.shape))
    for held_out in range(_FOLDS):
        inside = fold != held_out
        centre, level = vectors[inside].mean(axis=0), truth[inside].mean(axis=0)
        x = vectors[inside] - centre
        gram, pull = x.T @ x, x.T @ (truth[inside] - level)
        for row, penalty in enumerate(_PENALTIES):
            weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), pull)
            predicted[row, ~inside] = (vectors[~inside] - centre) @ weights + level
    lengths = np.linalg.norm(predicted, axis=2) * np.linalg.norm(truth, axis=1)
    return float(((predicted * truth).sum(axis=2) / np.maximum(lengths, 1e-12)).mean(axis=1).max())
