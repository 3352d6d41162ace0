"""Weights of the hybrid ranker, fitted to what was engaged with next, among the catalogue.

The catalogue is too large for each query, so the sum over it is estimated: what is likely to score high is taken as it
is, and a random sample stands for the rest, weighted by how many it stands for.
"""

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.hybrid import MET
from runtime.personalization.neighbours import Neighbours
from runtime.personalization.ranking_features import NAMES, NAMES_WITH_SEQUENCE, OWN_NAMES, SEQUENCE_COLUMN, met
from training.data.events import Dataset, Histories
from training.evaluation.queries import Queries
from training.evaluation.sequence import SequenceRecommender
from training.ranker.lists import Lists, padded
from training.ranker.ndcg_fit import better_of, listwise
from training.ranker.replay import Query, Replay
from training.ranker.sequence_scores import SequenceCosines

_LIKELY = 40  # of each feature that finds candidates
_RANDOM = 150
_FINDERS = tuple(
    NAMES.index(name)
    for name in ("count_hour", "count_day", "count_month", "count_year", "simple", "last",
                 "together", "linear", "follows_last")
)  # fmt: skip
_LEAST_SPREAD = 1e-6  # of a feature that varies
_MOST_SCORED = 20_000  # items whose features are looked at a query; of a larger catalogue a sample


def lists(
    dataset: Dataset,
    sampled: Queries,
    table: Neighbours | None,
    *,
    sequence: SequenceRecommender | None = None,
    left_out: Histories | None = None,
    seed: int = 0,
) -> Lists:
    """Of the queries `sampled`, in the order of time. sequence: its cosine is then a feature. left_out: items of these
    events are no candidates, one history a query."""
    cosines = None if sequence is None else SequenceCosines(sequence, sampled.histories, sampled.now_us, sampled.device)
    gone = None if left_out is None else [events.item for events in left_out]
    rng = np.random.default_rng(seed)
    replay = Replay(dataset, sampled.histories.log)
    rows = [
        _candidates(
            query, int(sampled.item[query.position]), dataset.catalogue.vectors, table, rng,
            None if cosines is None else cosines.of(query.position),
            None if gone is None else gone[query.position],
        )
        for query in replay.queries(sampled.histories, sampled.now_us)
    ]  # fmt: skip
    return padded([features for features, _ in rows], [weight for _, weight in rows])


def _candidates(
    query: Query,
    target: int,
    vectors: NDArray[np.float32],
    table: Neighbours | None,
    rng: np.random.Generator,
    sequence: NDArray[np.float32] | None,
    left_out: NDArray[np.int32] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    items = len(vectors)
    pool = np.arange(items)
    if items > _MOST_SCORED:
        popular = np.argpartition(-query.counts[:, 0], _LIKELY)[:_LIKELY]
        drawn = rng.choice(items, _MOST_SCORED, replace=False)
        own = query.history.rows[query.history.rows >= 0]
        pool = np.unique(np.concatenate([np.array([target]), own, popular, drawn]))
    if left_out is not None:
        gone = np.setdiff1d(left_out, [target])
        items -= len(gone)
        pool = np.setdiff1d(pool, gone, assume_unique=True)
    features = query.features(pool, vectors, table, sequence=None if sequence is None else sequence[pool])
    likely = np.isin(pool, query.history.rows)
    if len(pool) > _LIKELY:
        for column in _FINDERS if sequence is None else (*_FINDERS, SEQUENCE_COLUMN):
            likely[np.argpartition(-features[:, column], _LIKELY)[:_LIKELY]] = True
    place = int(np.searchsorted(pool, target))
    likely[place] = False  # it comes first
    rest = np.flatnonzero(~likely)
    rest = rest[rest != place]
    drawn = rng.choice(rest, min(_RANDOM, len(rest)), replace=False)
    chosen = np.concatenate([[place], np.flatnonzero(likely), drawn])
    weight = np.zeros(len(chosen), np.float32)
    if len(drawn):
        weight[len(chosen) - len(drawn) :] = np.log((items - (len(chosen) - len(drawn))) / len(drawn))
    return features[chosen], weight


def fit(found: Lists) -> dict[str, float]:
    """The weight of each feature that varies, and with MET before it what it is more for a candidate that the user has
    met: of the listwise loss, or fitted to NDCG@10 from there (`ndcg_fit`). What a position adds is fitted beside them
    and left out: it is how the user looked, not what the item is."""
    names = NAMES_WITH_SEQUENCE[: found.x.shape[2]]
    again = [column for column, name in enumerate(names) if name not in OWN_NAMES]
    had = met(found.x.reshape(-1, len(names))).reshape(*found.log_weight.shape, 1)
    x = np.concatenate([found.x, had * found.x[..., again], found.place[..., np.newaxis]], axis=2)
    z, spread = standardised(x, found.log_weight)
    varies = spread > 0
    columns = (*names, *(f"{MET}{names[column]}" for column in again), None)
    of_met = np.array([name is not None and (name in OWN_NAMES or name.startswith(MET)) for name in columns])
    # A rank among the few that were shown says less than the loss does
    fitted = (
        listwise(z, found.log_weight)
        if found.place.any()
        else better_of(z, found.log_weight, had[..., 0] > 0, of_met[varies])
    )
    kept = [name for name, there in zip(columns, varies.tolist(), strict=True) if there]
    weights = zip(kept, fitted / spread[varies], strict=True)
    return {name: float(weight) for name, weight in weights if name is not None}


def standardised(
    x: NDArray[np.float32], log_weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The features that vary, [queries, candidates, ·], 0 where there is no candidate, and the spread of each, 0 where
    it does not vary. A list counts as one, its candidates as what they stand for."""
    there = np.isfinite(log_weight)
    share = np.where(there, np.exp(np.where(there, log_weight, 0)), 0)
    share /= share.sum(axis=1, keepdims=True) * len(share)
    mean = np.einsum("qc,qcf->f", share, x)
    spread = np.zeros(x.shape[2])
    varying = []
    for column in range(x.shape[2]):  # one at a time: all of them apart from their means are gigabytes
        apart = x[..., column] - mean[column]
        one = float(np.sqrt((share * apart**2).sum()))
        if one > _LEAST_SPREAD:
            spread[column] = one
            varying.append(np.where(there, apart / one, 0).astype(np.float32))
    return np.stack(varying, axis=2), spread
