"""Ranks of the target items, a batch of queries at a time: memory stays at batch × items."""

import numpy as np
from numpy.typing import NDArray

from training.data.events import Dataset, Histories
from training.evaluation import metrics
from training.evaluation.protocol import Recommender
from training.evaluation.queries import Queries, seen_items, unavailable

_BATCH = 512
_CELLS = 2_000_000  # scores of one batch


def rank_targets(
    recommender: Recommender,
    dataset: Dataset,
    queries: Queries,
    *,
    without_seen: bool,
    histories: Histories | None = None,
) -> NDArray[np.int64]:
    """Rank of each target over the catalogue, int64 [n], from 0. Items that do not exist yet are not candidates.

    without_seen: items of the history are not candidates either; such a target has rank `metrics.NEVER`.
    histories: passed to the recommender instead of the queries' own (cut or shuffled); candidates stay the same.
    Raises ValueError for scores of the wrong shape or with NaN, naming the recommender.
    """
    (ranks,) = _ranks(recommender, dataset, queries, (without_seen,), histories)
    return ranks


def rank_targets_twice(
    recommender: Recommender, dataset: Dataset, queries: Queries
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `rank_targets`, with the items of the history among the candidates, and without, from the same scores."""
    everything, unseen = _ranks(recommender, dataset, queries, (False, True), None)
    return everything, unseen


def _ranks(
    recommender: Recommender,
    dataset: Dataset,
    queries: Queries,
    without_seen: tuple[bool, ...],
    histories: Histories | None,
) -> list[NDArray[np.int64]]:
    size = max(1, min(_BATCH, _CELLS // max(len(dataset.catalogue), 1)))
    found = [np.empty(len(queries), np.int64) for _ in without_seen]
    for start in range(0, len(queries), size):
        batch = queries.take(slice(start, start + size))
        given = batch.histories if histories is None else histories.take(slice(start, start + size))
        scores = recommender.item_scores(given, batch.now_us, batch.device)
        expected = (len(batch), len(dataset.catalogue))
        if scores.shape != expected:
            raise ValueError(f"{recommender.name}: scores have shape {scores.shape}, expected {expected}")
        missing = unavailable(dataset, batch.now_us)
        for ranks, without in zip(found, without_seen, strict=True):
            excluded = missing | seen_items(batch.histories, len(dataset.catalogue)) if without else missing
            try:
                ranks[start : start + size] = metrics.ranks(scores, batch.item, excluded)
            except ValueError as error:
                raise ValueError(f"{recommender.name}: {error}") from error
    return found
